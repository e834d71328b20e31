# Negative control, written for the tests: the usual order of update scripts in the wild.
# The container goes first, then the pull; the digest is recorded whatever became of the start.
:local Digest "";
:local Found [ /system/script/find where name="tailscale-state" ];
:local Note "";
:if ([ :len $Found ] > 0) do={ :set Note [ /system/script/get $Found comment ]; }
:local Url "https://ghcr.example/v2/token\?service=x&scope=repository:me/mikrotik-tailscale:pull";
:local Token ([ :deserialize ([ /tool/fetch url=$Url output=user as-value ]->"data") from=json ]->"token");
:local Head [ :tostr [ /tool/fetch url="https://ghcr.example/v2/me/mikrotik-tailscale/manifests/stable" \
  http-method=head output=user-with-headers as-value \
  http-header-field=("Authorization: Bearer " . $Token . ",Accept: application/vnd.oci.image.index.v1+json") ] ];
:set Digest [ :pick $Head [ :find $Head "sha256:" ] ([ :find $Head "sha256:" ] + 71) ];
:if ($Note ~ ("^digest=" . $Digest)) do={ :error "no new image" }
:foreach Id in=[ /container/find where comment~"^mikrotik-tailscale " ] do={
  /container/stop $Id;
  :delay 10s;
  /container/remove $Id;
  :delay 10s;
}
:local Mounts "mountlists";
:if ([ :pick [ :tostr [ /system/resource/get version ] ] 0 4 ] ~ "7\\.(19|20)") do={ :set Mounts "mounts" }
:local Add [ :parse ("/container/add name=tailscale root-dir=tailscale/a interface=veth-tailscale start-on-boot=yes" . \
  " entrypoint=/x cmd=y remote-image=ghcr.example/me/mikrotik-tailscale:stable " . $Mounts . "=tailscale" . \
  " comment=\"mikrotik-tailscale digest=" . $Digest . "\"") ];
$Add;
:delay 60s;
/container/start [ find where comment~"^mikrotik-tailscale " ];
/system/script/set [ find where name="tailscale-state" ] comment=("digest=" . $Digest . " bad= tries=0 trial=");
