#!rsc by RouterOS
# RouterOS script: status-tailscale
# mikrotik-tailscale {{RELEASE}}; rendered for RouterOS {{RENDERED}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
#
# One screen: what runs, whether it works, what to do. Changes nothing.
# docs/USAGE.md#status

# one block: what /import reads line by line forgets its variables
{
:global TsImage; :global TsTag; :global TsDisk; :global TsAddress; :global TsMagicDns;
:global TsAlarmText; :global TsChecked; :global TsPing;

#@ include head
:global TsLook; :global TsMine; :global TsAsk; :global TsConnected;

:onerror Err in={
  :local Unfit [ $TsReady ];
  :if ([ :len $Unfit ] > 0) do={ :error $Unfit; }
  :if ([ :len [ /system/script/find where name="settings-tailscale" ] ] = 0) do={
    :error "not installed: there is no script settings-tailscale";
  }
  $TsLoad "settings-tailscale";
  $TsLoad "library-tailscale";
  :local Todo ({});
  :local Res [ /system/resource/get ];
  :put ("router      RouterOS " . ($Res->"version") . ", " . ($Res->"architecture-name") . ", " . \
    (($Res->"free-memory") / 1048576) . " MiB memory free");
  :put ("scripts     {{RELEASE}}");
  :if ([ $TsVersion ] > {{KNOWN}}99) do={
    :put "            this RouterOS is newer than the scripts know, it is treated as {{NEWEST}}";
  }
  :put ("follows     " . $TsImage . ":" . $TsTag);

  # what is on flash
  :local Free ($Res->"free-hdd-space");
  :if ([ :len $TsDisk ] > 0) do={
    :local Disk [ /disk/find where slot=$TsDisk ];
    :if ([ :len $Disk ] = 0) do={
      :set Free 0;
      :set Todo ($Todo, ("plug in the disk " . $TsDisk));
    } else={ :set Free [ /disk/get $Disk free ]; }
  }
  :put ("flash       " . ($Free / 1024) . " KiB free");

  # the containers
  :local Active "";
  :local Ours [ $TsMine ];
  :foreach Id in=$Ours do={
    :local Now [ $TsLook $Id ];
    :local Text ("container   " . ($Now->"name") . " " . ($Now->"state") . ", " . \
      [ :pick ($Now->"digest") 0 19 ]);
    :if (($Now->"boot") = true) do={ :set Text ($Text . ", starts on boot"); }
    :put $Text;
    :if (($Now->"state") = "running") do={ :set Active $Id; }
  }
  :local Note "";
  :local Found [ /system/script/find where name="tailscale-state" ];
  :if ([ :len $Found ] > 0) do={ :set Note [ /system/script/get $Found comment ]; }
  :put ("recorded    " . [ :pick [ $TsField $Note "digest" ] 0 19 ]);
  :if ([ :len [ $TsField $Note "bad" ] ] > 0) do={
    :put ("failed      " . [ :pick [ $TsField $Note "bad" ] 0 19 ] . ", waiting for the next release");
  }
  :if ([ :len $Ours ] = 0) do={ :set Todo ($Todo, "/system/script/run update-tailscale"); }

  # whether it works
  :if ([ :len $Active ] > 0) do={
    :local Pings [ /ping $TsAddress count=1 ];
    :put ("address     " . $TsAddress . " answers " . $Pings . " of 1 pings");
    :if ($Pings = 0 && $TsPing) do={ :set Todo ($Todo, "docs/USAGE.md#the-container-does-not-answer"); }
    :local Said [ $TsAsk $Active ];
    :if ([ :len $Said ] > 0) do={
      :if ([ $TsConnected $Said ]) do={ :put "tailscale   connected"; } else={
        :if ($Said ~ "permission") do={ :put "tailscale   you may not ask it"; } else={
          :put ("tailscale   not connected: " . [ :pick $Said 0 90 ]);
          :set Todo ($Todo, "docs/USAGE.md#authentication");
        }
      }
    }
  } else={
    :if ([ :len $Ours ] > 0) do={
      :put "tailscale   no container runs";
      :set Todo ($Todo, "/system/script/run update-tailscale");
    }
  }
  :if ([ :len [ /ip/route/find where dst-address=100.64.0.0/10 ] ] = 0) do={
    :put "route       100.64.0.0/10 is missing";
    :set Todo ($Todo, "/import install-tailscale.rsc");
  } else={ :put "route       100.64.0.0/10 is there"; }
  :if ([ :len $TsMagicDns ] > 0) do={
    :if ([ :len [ /ip/dns/static/find where name=$TsMagicDns ] ] = 0) do={
      :put ("dns         no forwarding for " . $TsMagicDns);
      :set Todo ($Todo, "/import install-tailscale.rsc");
    } else={ :put ("dns         " . $TsMagicDns . " is forwarded"); }
  }

  # whether it will be kept so
  :local Plans [ /system/scheduler/find where name="update-tailscale" !disabled ];
  :if ([ :len $Plans ] = 0) do={
    :put "scheduler   none: no updates, no restart after a crash";
    :set Todo ($Todo, "/import install-tailscale.rsc");
  } else={ :put "scheduler   there"; }
  :if ([ :typeof $TsChecked ] = "time") do={ :put ("asked       at uptime " . $TsChecked); }
  :if ([ :len $TsAlarmText ] > 0) do={ :put ("alarm       " . $TsAlarmText); }
  :if ([ :len $Todo ] = 0) do={ :put "to do       nothing"; }
  :foreach Line in=$Todo do={ :put ("to do       " . $Line); }
} do={
  :put ("error: " . $Err);
}
}
