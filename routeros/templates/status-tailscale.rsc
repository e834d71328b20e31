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
:global TsAlarmText; :global TsChecked; :global TsPing; :global TsAddress6; :global TsBridge;

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
  # first, for with a wrong clock no certificate holds and nothing below can be well
  :local Today [ :tostr [ /system/clock/get date ] ];
  :if ([ :tonum [ :pick $Today 0 4 ] ] < {{YEAR}}) do={
    :set Todo ($Todo, ("the clock says " . $Today . \
      ": /system/ntp/client/set enabled=yes servers=pool.ntp.org"));
  }

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
    :if (($Now->"sick")) do={ :set Text ($Text . ", its health check fails"); }
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
      :if ([ $TsConnected $Said ]) do={
        :put "tailscale   connected";
        # a peer in use is told as direct, or as relay "fra"
        :if ($Said ~ "; relay \"" && !($Said ~ "; direct ")) do={
          :set Todo ($Todo, "peers are reached over relays only: docs/USAGE.md#relayed-only");
        }
        # the node's own part of the JSON: the routes that control lets it have, and its key's end
        :local Own [ $TsAsk $Active "tailscale status --peers=false --json" ];
        :local Granted "";
        :local At [ :find $Own "\"AllowedIPs\": [" ];
        :if ([ :typeof $At ] = "num") do={
          :set Granted [ :pick $Own $At [ :find $Own "]" $At ] ];
        }
        :set At [ :find $Own "\"KeyExpiry\": \"" ];
        :if ([ :typeof $At ] = "num") do={
          :set Todo ($Todo, ("the node's key ends on " . [ :pick $Own ($At + 14) ($At + 24) ] . \
            ": admin console, Machines, Disable key expiry"));
        }
        :local Flags [ $TsAsk $Active "tailscale get --set-flags" ];
        :local Exit ((" " . $Flags . " ") ~ " --advertise-exit-node ");
        :if ([ :len $Granted ] > 0) do={
          :foreach Net in=[ :toarray [ $TsField $Flags "--advertise-routes" ] ] do={
            :if ([ :len $Net ] > 0 && \
                [ :typeof [ :find $Granted ("\"" . $Net . "\"") ] ] != "num") do={
              :set Todo ($Todo, ("route " . $Net . \
                " is not approved: admin console, Machines, Edit route settings"));
            }
          }
          :if ($Exit && [ :typeof [ :find $Granted "\"0.0.0.0/0\"" ] ] != "num") do={
            :set Todo ($Todo, \
              "the exit node is not approved: admin console, Machines, Edit route settings");
          }
        }
        # the tailnet's addresses mean nothing outside; one of the provider's needs no translation
        :if ($Exit && [ :len $TsAddress6 ] > 0 && !($TsAddress6 ~ "^[23]")) do={
          :local Nat [ /ipv6/firewall/nat/find where chain="srcnat" !disabled \
            (action="masquerade" or action="src-nat") ];
          :if ([ :len $Nat ] = 0) do={
            :set Todo ($Todo, ("the exit node's IPv6 is not translated: /ipv6/firewall/nat/add " . \
              "chain=srcnat src-address=fd7a:115c:a1e0::/48 action=masquerade"));
          }
        }
      } else={
        :local At [ :find $Said "Log in at: " ];
        :if ($Said ~ "permission") do={ :put "tailscale   you may not ask it"; } else={
          :if ([ :typeof $At ] = "num") do={
            # whole, however long: it is to be opened
            :local Page [ :pick $Said ($At + 11) [ :len $Said ] ];
            :local End [ :find $Page "\n" ];
            :if ([ :typeof $End ] = "num") do={ :set Page [ :pick $Page 0 $End ]; }
            :put "tailscale   not logged in";
            :set Todo ($Todo, ("log in, in a browser on any device: " . $Page));
          } else={
            :put ("tailscale   not connected: " . [ :pick $Said 0 90 ]);
            :if ($Said ~ "Logged out") do={
              :set Todo ($Todo, ("log in: /container/shell [find where " . \
                "comment~\"^mikrotik-tailscale\"] cmd=\"tailscale up\""));
            } else={ :set Todo ($Todo, "docs/USAGE.md#authentication"); }
          }
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
  # what the tailnet's packets pass: 1280 bytes on the way in, and 60 of WireGuard's on the way out
  :local Least ({});
  :set ($Least->$TsBridge) 1280;
  :foreach Id in=[ /ip/route/find where dst-address=0.0.0.0/0 active ] do={
    :local Way [ :tostr ([ /ip/route/get $Id ]->"immediate-gw") ];
    :local At [ :find $Way "%" ];
    :if ([ :typeof $At ] = "num") do={
      :local Out [ :pick $Way ($At + 1) [ :len $Way ] ];
      :set ($Least->$Out) 1340;
    }
  }
  :foreach Name,Need in=$Least do={
    :foreach Id in=[ /interface/find where name=$Name ] do={
      :local Size [ :tonum ([ /interface/get $Id ]->"actual-mtu") ];
      :if ([ :typeof $Size ] = "num") do={
        :if ($Size < $Need) do={
          :set Todo ($Todo, ("MTU " . $Size . " of " . $Name . " is below " . $Need . \
            ": docs/USAGE.md#mtu-and-mss"));
        }
      }
    }
  }
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
