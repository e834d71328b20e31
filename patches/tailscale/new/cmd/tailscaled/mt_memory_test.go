// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_memory

package main

import (
	"math"
	"testing"
	"testing/fstest"
)

const (
	mtMountV2 = "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n"
	mtMountV1 = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)

func TestMTMemoryLimit(t *testing.T) {
	const none = math.MaxInt64
	for _, test := range []struct {
		name           string
		mounts, groups string
		files          map[string]string
		want           int64
	}{
		{"nothing is mounted", "20 1 8:1 / / rw - ext4 /dev/vda rw\n", "0::/\n", nil, none},
		{"a file that belongs to no mount", "", "0::/\n", map[string]string{"sys/fs/cgroup/memory.max": "9"}, none},
		{"v2, own namespace", mtMountV2, "0::/\n", map[string]string{"sys/fs/cgroup/memory.max": "100663296\n"}, 96 << 20},
		{"v2, no limit", mtMountV2, "0::/\n", map[string]string{"sys/fs/cgroup/memory.max": "max\n"}, none},
		{"v2, throttled before it is killed", mtMountV2, "0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max": "100663296\n", "sys/fs/cgroup/memory.high": "67108864\n"}, 64 << 20},
		{"v2, a group above allows less", mtMountV2, "0::/box/node\n", map[string]string{
			"sys/fs/cgroup/box/node/memory.max": "max\n", "sys/fs/cgroup/box/memory.max": "67108864\n"}, 64 << 20},
		{"v2, a group beside is not ours", mtMountV2, "0::/node\n", map[string]string{
			"sys/fs/cgroup/node/memory.max": "67108864\n", "sys/fs/cgroup/other/memory.max": "1048576\n"}, 64 << 20},
		{"v2, a part of the hierarchy is mounted", "30 23 0:26 /box /cg ro - cgroup2 cgroup rw\n", "0::/box/node\n",
			map[string]string{"cg/node/memory.max": "67108864\n", "cg/box/node/memory.max": "9"}, 64 << 20},
		{"v2, another part is mounted", "30 23 0:26 /bo /cg ro - cgroup2 cgroup rw\n", "0::/box/node\n",
			map[string]string{"cg/x/node/memory.max": "9", "cg/memory.max": "67108864\n"}, 64 << 20},
		{"v2, outside of what its namespace shows", mtMountV2, "0::/../other\n", map[string]string{
			"sys/fs/cgroup/memory.max": "67108864\n"}, 64 << 20},
		{"v1", mtMountV1, "9:memory:/node\n8:cpu,cpuacct:/other\n", map[string]string{
			"sys/fs/cgroup/memory/node/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":      "9223372036854771712\n"}, 64 << 20},
		{"v1, no limit", mtMountV1, "9:memory:/\n", map[string]string{
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, none},
		{"v1 of 32 bits, no limit", mtMountV1, "9:memory:/\n", map[string]string{
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "18446744073709551615\n"}, none},
		{"both, v2 without the controller", mtMountV1 + mtMountV2, "9:memory:/node\n0::/x\n", map[string]string{
			"sys/fs/cgroup/memory/node/memory.limit_in_bytes": "67108864\n"}, 64 << 20},
		{"rubbish", mtMountV2 + " - \nx - y\n", "0:\n::\n", map[string]string{"sys/fs/cgroup/memory.max": "much\n"}, none},
		{"nothing and less", mtMountV2, "0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max": "0\n", "sys/fs/cgroup/memory.high": "-1\n"}, none},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{
				"proc/self/mountinfo": {Data: []byte(test.mounts)},
				"proc/self/cgroup":    {Data: []byte(test.groups)},
			}
			for name, text := range test.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := mtCgroupLimit(root); got != test.want {
				t.Errorf("%d bytes, want %d", got, test.want)
			}
		})
	}
}

func TestMTMemoryShare(t *testing.T) {
	for limit, want := range map[int64]int64{256 << 20: 192 << 20, 128 << 20: 96 << 20, 96 << 20: 80 << 20, 64 << 20: 80 << 20, 1: 80 << 20} {
		if got := mtGoLimit(limit); got != want {
			t.Errorf("of %d MiB Go gets %d MiB, want %d", limit>>20, got>>20, want>>20)
		}
	}
}
