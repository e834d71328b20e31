#!rsc by RouterOS
# RouterOS script: uninstall-tailscale
# mikrotik-tailscale {{RELEASE}}; rendered for RouterOS {{RENDERED}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
#
# Removes the container and everything else with the comment "mikrotik-tailscale". The node's
# identity (folder state/) stays, so that a new installation is the same node; the settings stay.
# For those too: ":global TsPurge true" before you run it.
# docs/USAGE.md#removal

# one block: what /import reads line by line forgets its variables
{
:global TsVeth; :global TsBridge; :global TsBusy; :global TsPurge; :global TsSettings;

#@ include common
:onerror Err in={
  # no run of the scheduler may start it again meanwhile
  /system/scheduler/remove [ find where name="update-tailscale" ];
  :set TsBusy [ /system/resource/get uptime ];
  :if ([ :len [ /system/script/find where name="settings-tailscale" ] ] > 0) do={
    /system/script/run settings-tailscale;
  }

  :local Count 0;
  :foreach Id in=[ /container/find where comment~"^mikrotik-tailscale " ] do={
    $TsDrop $Id;
    :set Count ($Count + 1);
  }
  :put ("containers removed: " . $Count);

  /ip/dns/static/remove [ find where comment="mikrotik-tailscale" ];
  /ip/route/remove [ find where comment="mikrotik-tailscale" ];
  /ipv6/route/remove [ find where comment="mikrotik-tailscale" ];
  /ipv6/address/remove [ find where comment="mikrotik-tailscale" ];
  /ip/address/remove [ find where comment="mikrotik-tailscale" ];
  /interface/list/member/remove [ find where comment="mikrotik-tailscale" ];
  /interface/bridge/port/remove [ find where comment="mikrotik-tailscale" ];
  /interface/bridge/remove [ find where comment="mikrotik-tailscale" ];
  /interface/veth/remove [ find where comment="mikrotik-tailscale" ];
  :put "network removed";

  :local State [ $TsRoot "state" ];
  /container/mounts/remove [ find where dst="/var/lib/tailscale" src~($State . "\$") ];
  /container/envs/remove [ find where key="TS_LOG_VERBOSITY" ];
  /system/script/remove [ find where name="tailscale-state" ];
  :if ($TsPurge = true) do={
    :foreach File in=[ /file/find where name~("^" . $State) ] do={ /file/remove $File; }
    /system/script/remove [ find where name="settings-tailscale" ];
    :put "identity and settings removed: take the node out of your tailnet's machine list too";
  } else={
    :put ("kept: the node's identity in " . $State . " and the script settings-tailscale");
  }
  /system/script/remove [ find where name="update-tailscale" ];
  /system/script/remove [ find where name="status-tailscale" ];
  /system/script/remove [ find where name="install-tailscale" ];
  :set TsBusy;
  /system/script/remove [ find where name="uninstall-tailscale" ];
  :put "done";
} do={
  :set TsBusy;
  $TsSay error ("removal stopped, run it again: " . $Err);
}
}
