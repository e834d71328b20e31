# the release's bootstrap, by its digest; it has the digests of the scripts
:global TsFiles "{{FILES}}";
:local Answer [/tool/fetch url=($TsFiles . "/bootstrap-tailscale.rsc") output=user as-value \
  check-certificate=yes-without-crl];
:if ([:convert ($Answer->"data") from=raw to=hex transform=sha512] != \
    "{{BOOTSTRAP}}") do={
  :error "bootstrap-tailscale.rsc is not the one of {{RELEASE}}, or not whole; nothing was changed";
}
:local Bootstrap [:parse ($Answer->"data")];
$Bootstrap;
