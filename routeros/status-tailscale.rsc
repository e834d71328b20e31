#!rsc by RouterOS
# RouterOS script: status-tailscale
# mikrotik-tailscale v1.104.5-mt.1; rendered for RouterOS 7.19 and newer; do not edit
#
# requires RouterOS, version=7.19
#
# One screen: what runs, whether it works, what to do. Changes nothing.
# docs/USAGE.md#status

# one block: what /import reads line by line forgets its variables
{
:global TsImage; :global TsTag; :global TsDisk; :global TsAddress; :global TsMagicDns;
:global TsAlarmText; :global TsChecked; :global TsPing; :global TsAddress6; :global TsBridge;

# -- what every script begins with; it must be readable on a router without containers ----------
:global TsSay; :global TsVersion; :global TsField; :global TsReady; :global TsLoad; :global TsAlarm;

# log and print: level, text
:set TsSay do={
  :if ($1 = "error") do={ :log error ("tailscale: " . $2); }
  :if ($1 = "warning") do={ :log warning ("tailscale: " . $2); }
  :if ($1 = "info") do={ :log info ("tailscale: " . $2); }
  :put ($1 . ": " . $2);
}

# 7.23.2 -> 72302, 7.26beta1 -> 72600; kept in a global, which an upgrade empties with its reboot
:set TsVersion do={
  :global TsRelease;
  :if ([ :typeof $TsRelease ] = "num") do={ :return $TsRelease; }
  :local Text [ :tostr [ /system/resource/get version ] ];
  :local Parts ({ 0; 0; 0 });
  :local At 0;
  :for I from=0 to=([ :len $Text ] - 1) do={
    :local Char [ :pick $Text $I ];
    :local Digit [ :tonum $Char ];
    :if ($At < 3) do={
      :if ([ :typeof $Digit ] = "num") do={
        :set ($Parts->$At) (($Parts->$At) * 10 + $Digit);
      } else={
        :if ($Char = ".") do={ :set At ($At + 1); } else={ :set At 3; }
      }
    }
  }
  :set TsRelease (($Parts->0) * 10000 + ($Parts->1) * 100 + ($Parts->2));
  :return $TsRelease;
}

# the word after key= in a text: text, key
:set TsField do={
  :local Text (" " . $1 . " ");
  :local At [ :find $Text (" " . $2 . "=") ];
  :if ([ :typeof $At ] != "num") do={ :return ""; }
  :local Rest [ :pick $Text ($At + [ :len $2 ] + 2) [ :len $Text ] ];
  :return [ :pick $Rest 0 [ :find $Rest " " ] ];
}

# whether containers can be had here -> "" or what is missing
:set TsReady do={
  :global TsVersion; :global TsCount;
  :if ([ $TsVersion ] < 71900) do={ :return "RouterOS 7.19 or newer is needed"; }
  :local Found [ /system/package/find where name="container" ];
  :local Row ({});
  :if ([ :len $Found ] > 0) do={ :set Row [ /system/package/get ($Found->0) ]; }
  :if ([ :len $Found ] = 0 || ($Row->"available") = true) do={
    :return "the package container is not installed";
  }
  :if (($Row->"disabled") = true) do={
    :return "the package container is disabled: /system/package/enable container, then restart";
  }
  :local Mode [ /system/device-mode/get ];
  :if (($Mode->"container") = false) do={
    :return "device-mode forbids containers: /system/device-mode/update container=yes";
  }
  # the menu itself: a script that names a menu which is not there is not even read
  :onerror Err in={
    :local Text [ :parse ":global TsCount; :set TsCount [ :len [ /container/find ] ]" ];
    $Text;
  } do={ :return ("the commands of /container are not known here: " . $Err); }
  :return "";
}

# load the settings, or the functions of the library: name
:set TsLoad do={
  :local Name $1;
  :local Found [ /system/script/find where name=$Name ];
  :if ([ :len $Found ] != 1) do={ :error ("there is no script " . $Name); }
  :onerror Err in={ /system/script/run $Name; } do={
    # a script with more permissions than its caller is refused; its text is not
    :local Text [ :parse [ /system/script/get ($Found->0) source ] ];
    $Text;
  }
}

# something needs a person: text, key. The same key calls once a day, an hour later if the call
# failed, and is logged every time
:set TsAlarm do={
  :global TsSay; :global TsAlarmScript; :global TsAlarmText; :global TsAlarmKey; :global TsAlarmAt;
  :local Key $2;
  :if ([ :len $Key ] = 0) do={ :set Key $1; }
  :set TsAlarmText $1;
  $TsSay error $1;
  :if ([ :len $TsAlarmScript ] = 0) do={ :return ""; }
  :local Now;
  :onerror Err in={
    :set Now [ /system/resource/get uptime ];
    :local Old ([ :typeof $TsAlarmAt ] = "time" && $TsAlarmKey = $Key);
    :if ($Old) do={ :set Old (($Now - $TsAlarmAt) < 1d); }
    :if (!$Old) do={
      :local Found [ /system/script/find where name=$TsAlarmScript ];
      :if ([ :len $Found ] = 0) do={ :error "there is no such script"; }
      :if ([ /system/script/get ($Found->0) dont-require-permissions ] = true) do={
        /system/script/run $TsAlarmScript;
      } else={
        # a script with more permissions than its caller is refused, and that is the default: its
        # text runs with those of this script
        :local Text [ :parse [ /system/script/get ($Found->0) source ] ];
        $Text;
      }
      :set TsAlarmKey $Key;
      :set TsAlarmAt $Now;
    }
  } do={
    $TsSay warning ("the alarm script failed: " . $Err);
    :set TsAlarmKey $Key;
    :if ([ :typeof $Now ] = "time") do={ :set TsAlarmAt ($Now - 23h); } else={ :set TsAlarmAt; }
  }
}
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
  :put ("scripts     v1.104.5-mt.1");
  :if ([ $TsVersion ] > 72499) do={
    :put "            this RouterOS is newer than the scripts know, it is treated as 7.24";
  }
  :put ("follows     " . $TsImage . ":" . $TsTag);
  # first, for with a wrong clock no certificate holds and nothing below can be well
  :local Today [ :tostr [ /system/clock/get date ] ];
  :if ([ :tonum [ :pick $Today 0 4 ] ] < 2026) do={
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
