// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

// Empty: with an assembly file in the package Go accepts a function without a body.
