/container
:local old [find where comment="thing" and running]
:if ($old = "") do={ :error "no container" }
:local status ([get $old]->"tag")
:if ([get $old running] = true) do={ stop $old }
remove $old

/ip firewall/filter
add chain=forward action=accept comment="from here" place-before=0 in-interface=!ether1 \
    src-address=10.0.0.0/8
set [find comment="from here"] !src-address disabled=no
/ip/firewall filter print where (chain="forward" and !disabled) or comment~"^x"
/interface/bridge/port/remove [find where bridge=("br" . "1")]
/container/envs/ add list=x key=A value="1"
/system/script { add name=x source="\$x" ; print detail }
/ system identity
set name="router"
:foreach i in=[/ip/address/find where interface="ether1" address in 10.0.0.0/8 !(disabled)] do={
  /ip/address/disable $i
}
:put [:len [/file find name~"^tmp/" and size>0]]
:put [/ping 10.0.0.1 count=3]; return true
