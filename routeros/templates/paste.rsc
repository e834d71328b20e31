# mikrotik-tailscale {{RELEASE}} for {{DEVICE}}, RouterOS {{VERSION}}: paste it into a terminal.
# It can be pasted again, with other choices too. The other way: {{UNDO}}
{
#@ if fetch
:global TsGo true;
#@ include fetch
#@ end
#@ if inline
:global TsGo true;
:global TsTexts ({});
{{TEXTS}}
#@ include bootstrap
:set TsTexts;
#@ end
:local Want ({});
:set ($Want->"TsImage") "{{IMAGE}}";
:set ($Want->"TsTag") "{{TAG}}";
#@ if disk
:set ($Want->"TsDisk") "{{DISK}}";
#@ end
#@ if ipv6
:set ($Want->"TsGateway6") "{{GATEWAY}}";
:set ($Want->"TsAddress6") "{{ADDRESS}}";
#@ end
#@ if magicdns
:set ($Want->"TsMagicDns") "{{MAGICDNS}}";
#@ end
:local Id ([/system/script/find where name="settings-tailscale"]->0);
:local Settings [/system/script/get $Id source];
:foreach Key,Value in=$Want do={
  :local Line (":global " . $Key . " \"" . $Value . "\";");
  :local Mark ("\n:global " . $Key . " ");
  :local Done "";
  :local Rest $Settings;
  :local At [:find $Rest $Mark];
  :if ([:typeof $At] != "num") do={ :set Rest ($Rest . "\n" . $Line . "\n"); }
  :while ([:typeof $At] = "num") do={
    :set Done ($Done . [:pick $Rest 0 $At] . "\n" . $Line);
    :set Rest [:pick $Rest ($At + 1) [:len $Rest]];
    :local End [:find $Rest "\n"];
    :if ([:typeof $End] = "num") do={
      :set Rest [:pick $Rest $End [:len $Rest]];
    } else={ :set Rest "\n"; }
    :set At [:find $Rest $Mark];
  }
  :set Settings ($Done . $Rest);
}
:if ($Settings != [/system/script/get $Id source]) do={ /system/script/set $Id source=$Settings; }
#@ if tar
:global TsLocalFile "{{TAR}}";
:global TsLocalDigest "{{DIGEST}}";
:if ([:len [/file/find where name=$TsLocalFile]] = 0) do={
  :error ("upload " . $TsLocalFile . " first, then paste this again");
}
#@ end
/system/script/run install-tailscale;
# texts, because a router without the package container cannot even read these commands
:global TsThere 0;
:local Look [:parse ":global TsThere; :set TsThere \
  [:len [/container/find where comment~\"^mikrotik-tailscale\"]]"];
:onerror Err in={ $Look; } do={ :set TsThere 0; }
:local Count $TsThere;
:set TsThere;
:if ($Count = 0) do={ :error "nothing runs yet: do what the line above says, then paste this again"; }
#@ if uses
:global TsAddress;
:if ([:len [/routing/table/find where name="tailscale"]] = 0) do={
  /routing/table/add name=tailscale fib comment="mikrotik-tailscale";
}
/ip/route/remove [find where routing-table="tailscale" comment="mikrotik-tailscale"];
/ip/route/add dst-address=0.0.0.0/0 gateway=$TsAddress routing-table=tailscale \
  comment="mikrotik-tailscale";
/routing/rule/remove [find where comment="mikrotik-tailscale"];
:foreach Net in=({ {{NETWORKS}} }) do={
  /routing/rule/add src-address=$Net action=lookup table=main min-prefix=0 \
    comment="mikrotik-tailscale";
  /routing/rule/add src-address=$Net action=lookup table=tailscale comment="mikrotik-tailscale";
}
#@ end
#@ if shell
# shows the address to log in at, and waits; a node that is logged in stays so
:local Up [:parse "/container/shell [find where comment~\"^mikrotik-tailscale\"] \
  cmd=\"tailscale up\""];
$Up;
#@ end
#@ if shell roles
:local Set [:parse "/container/shell [find where comment~\"^mikrotik-tailscale\"] \
  cmd=\"tailscale set{{ROLES}}\""];
$Set;
#@ end
#@ if !shell
:put "now log in: type /container/shell 0, and there: tailscale up";
#@ end
#@ if !shell roles
:put "and then: tailscale set{{ROLES}}";
#@ end
#@ if shell
/system/script/run status-tailscale;
#@ end
}
