#!rsc by RouterOS
# RouterOS script: install-tailscale
# mikrotik-tailscale {{RELEASE}}; rendered for RouterOS {{RENDERED}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
# requires device-mode, container, fetch, scheduler
#
# Makes everything that the container needs and installs it; run it again at any time: what is
# there stays as it is. Everything it makes has the comment "mikrotik-tailscale":
#   /interface/veth, /interface/bridge with port and list member, /ip/address, /ip/route,
#   /ipv6/address and route (if set), /container/mounts and envs, /ip/dns/static (if set),
#   /system/script x4, /system/scheduler x1, and through update-tailscale the /container
# docs/USAGE.md#installation

# one block: what /import reads line by line forgets its variables
{
:global TsImage; :global TsDisk; :global TsFolder; :global TsVeth; :global TsBridge;
:global TsGateway; :global TsAddress; :global TsMask; :global TsGateway6; :global TsAddress6;
:global TsMask6; :global TsMagicDns; :global TsBusy; :global TsChecked; :global TsStore;

#@ include common
# store a script from a file of the same name: name, true to replace what is there
:set TsStore do={
  :global TsSay;
  :local Wanted $1;
  :local File [ /file/find where name=($1 . ".rsc") ];
  :local Found [ /system/script/find where name=$Wanted ];
  :if ([ :len $File ] = 0) do={
    :if ([ :len $Found ] = 0) do={ :error ("upload " . $1 . ".rsc first"); }
    :return "";
  }
  :local Source [ /file/get $File contents ];
  :if ([ :len $Source ] = 0) do={ :error ($1 . ".rsc is empty or too long to read"); }
  :if ([ :len $Found ] = 0) do={
    /system/script/add name=$Wanted policy=read,write,policy,test source=$Source \
      comment="mikrotik-tailscale";
    $TsSay info ("script " . $1 . " stored");
    :return "";
  }
  :if ($2 && [ /system/script/get $Found source ] != $Source) do={
    /system/script/set $Found source=$Source;
    $TsSay info ("script " . $1 . " replaced");
  }
}

:onerror Err in={
#@ if universal
  :local Version [ $TsVersion ];
  :if ($Version < 71900) do={ :error "RouterOS {{MINIMUM}} or newer is needed"; }
#@ end
#@ if fixed
  :local Version [ $TsVersion ];
  :if ($Version < {{FROM}} || $Version > {{TO}}) do={
    :error "this script was rendered for RouterOS {{RENDERED}}; use the one for this version";
  }
#@ end
  :if ([ :len [ /system/package/find where name="container" ] ] = 0) do={
    :error "the package container is not installed";
  }
  :local Mode [ /system/device-mode/get ];
  :if (($Mode->"container") != true || ($Mode->"fetch") != true || ($Mode->"scheduler") != true) do={
    :put "run this once and confirm it with the button or by cutting the power within 5 minutes:";
    :put "  /system/device-mode/update container=yes fetch=yes scheduler=yes";
    :error "device-mode does not allow containers, fetch and scheduler yet";
  }

  $TsStore "settings-tailscale" false;
  $TsStore "update-tailscale" true;
  $TsStore "status-tailscale" true;
  $TsStore "uninstall-tailscale" true;
  /system/script/run settings-tailscale;
  :if ($TsImage ~ "OWNER") do={ :error "set TsImage in the script settings-tailscale first"; }
  :if ([ :len $TsDisk ] > 0) do={
    :if ([ :len [ /disk/find where slot=$TsDisk ] ] = 0) do={
      :error ("the disk " . $TsDisk . " is not there");
    }
    :if ([ /container/config/get tmpdir ] = "") do={ /container/config/set tmpdir=($TsDisk . "/tmp"); }
  }

  :if ([ :len $TsDisk ] = 0 && !($TsFolder ~ "^flash/")) do={
    :if ([ :len [ /file/find where name="flash" type="disk" ] ] > 0) do={
      :error "only flash/ survives a restart of this device: set TsDisk, or TsFolder to flash/tailscale";
    }
  }

  # the link between router and container
  :if ([ :len [ /interface/bridge/find where name=$TsBridge ] ] = 0) do={
    /interface/bridge/add name=$TsBridge comment="mikrotik-tailscale";
  }
  :local Addresses ($TsAddress . "/" . $TsMask);
  :if ([ :len $TsAddress6 ] > 0) do={ :set Addresses ($Addresses . "," . $TsAddress6 . "/" . $TsMask6); }
  :if ([ :len [ /interface/veth/find where name=$TsVeth ] ] = 0) do={
    :if ([ :len $TsAddress6 ] > 0) do={
      /interface/veth/add name=$TsVeth address=$Addresses gateway=$TsGateway gateway6=$TsGateway6 \
        comment="mikrotik-tailscale";
    } else={
      /interface/veth/add name=$TsVeth address=$Addresses gateway=$TsGateway \
        comment="mikrotik-tailscale";
    }
  }
  :if ([ :len [ /interface/bridge/port/find where interface=$TsVeth ] ] = 0) do={
    /interface/bridge/port/add bridge=$TsBridge interface=$TsVeth comment="mikrotik-tailscale";
  }
  :if ([ :len [ /ip/address/find where interface=$TsBridge ] ] = 0) do={
    /ip/address/add address=($TsGateway . "/" . $TsMask) interface=$TsBridge \
      comment="mikrotik-tailscale";
  }
  # the default firewall takes only what comes from the list LAN
  :if ([ :len [ /interface/list/find where name="LAN" ] ] > 0) do={
    :if ([ :len [ /interface/list/member/find where list="LAN" interface=$TsBridge ] ] = 0) do={
      /interface/list/member/add list=LAN interface=$TsBridge comment="mikrotik-tailscale";
    }
  }
  :if ([ :len [ /ip/route/find where comment="mikrotik-tailscale" ] ] = 0) do={
    /ip/route/add dst-address=100.64.0.0/10 gateway=$TsAddress comment="mikrotik-tailscale";
  }
  :if ([ :len $TsAddress6 ] > 0) do={
    :if ([ :len [ /ipv6/address/find where comment="mikrotik-tailscale" ] ] = 0) do={
      /ipv6/address/add address=($TsGateway6 . "/" . $TsMask6) interface=$TsBridge advertise=no \
        comment="mikrotik-tailscale";
    }
    :if ([ :len [ /ipv6/route/find where comment="mikrotik-tailscale" ] ] = 0) do={
      /ipv6/route/add dst-address=fd7a:115c:a1e0::/48 gateway=$TsAddress6 \
        comment="mikrotik-tailscale";
    }
  }
  :if ([ :len $TsMagicDns ] > 0) do={
    :if ([ :len [ /ip/dns/static/find where comment="mikrotik-tailscale" ] ] = 0) do={
      /ip/dns/static/add name=$TsMagicDns type=FWD forward-to=100.100.100.100 match-subdomain=yes \
        comment="mikrotik-tailscale";
    }
  }

  # the node's identity lives outside the image, so that no update touches it
  :local State [ $TsRoot "state" ];
  :if ([ :len [ /container/mounts/find where dst="/var/lib/tailscale" src~($State . "\$") ] ] = 0) do={
#@ if universal
    :local Key "list";
    :if ($Version < 72100) do={ :set Key "name"; }
    :local Mount [ :parse ("/container/mounts/add " . $Key . "=tailscale src=\"" . $State . \
      "\" dst=/var/lib/tailscale") ];
    $Mount;
#@ end
#@ if -7.20
    /container/mounts/add name=tailscale src=$State dst=/var/lib/tailscale;
#@ end
#@ if 7.21
    /container/mounts/add list=tailscale src=$State dst=/var/lib/tailscale;
#@ end
  }
  :if ([ :len [ /container/envs/find where key="TS_LOG_VERBOSITY" ] ] = 0) do={
#@ if universal
    :local Key "list";
    :if ($Version < 72000) do={ :set Key "name"; }
    :local Env [ :parse ("/container/envs/add " . $Key . "=tailscale key=TS_LOG_VERBOSITY value=\"0\"") ];
    $Env;
#@ end
#@ if -7.19
    /container/envs/add name=tailscale key=TS_LOG_VERBOSITY value="0";
#@ end
#@ if 7.20
    /container/envs/add list=tailscale key=TS_LOG_VERBOSITY value="0";
#@ end
  }

  # start date and time are said outright: 7.24.0 to 7.24.4 never run a schedule without them
  :if ([ :len [ /system/scheduler/find where name="update-tailscale" ] ] = 0) do={
    /system/scheduler/add name=update-tailscale on-event=update-tailscale interval=15m \
      start-date=2026-01-01 start-time=00:07:00 policy=read,write,policy,test \
      comment="mikrotik-tailscale";
  }

  :if ([ :len [ /ip/firewall/raw/find where !disabled ] ] > 0) do={
    :put "note: there are raw firewall rules; they must let the bridge of the container through";
  }
  :if ([ :len [ /ip/firewall/nat/find where chain="srcnat" action="masquerade" ] ] = 0) do={
    :put "note: no masquerade rule was found; the container needs one to reach the internet";
  }

  :set TsChecked;
  /system/script/run update-tailscale;
  :local Ours [ /container/find where comment~"^mikrotik-tailscale " ];
  :if ([ :len $Ours ] = 0) do={ :error "no container was installed; see /log"; }
  :put "installed. If the node is new, log in with:";
  :put "  /container/shell [find where comment~\"^mikrotik-tailscale\"] cmd=\"tailscale up\"";
  :put "then: /system/script/run status-tailscale";
} do={
  $TsSay error ("installation stopped: " . $Err);
}
}
