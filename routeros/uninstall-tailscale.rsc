#!rsc by RouterOS
# RouterOS script: uninstall-tailscale
# mikrotik-tailscale v1.104.5-mt.1; rendered for RouterOS 7.19 and newer; do not edit
#
# requires RouterOS, version=7.19
#
# Removes the container and what the installer made: what has the comment "mikrotik-tailscale". What
# was there before and was only adopted, and what another container uses, stays and is named. The
# node's identity (its state folder) and the settings stay too, so that a new installation is the
# same node; for those as well: ":global TsPurge true" before you run it.
# docs/USAGE.md#removal

# one block: what /import reads line by line forgets its variables
{
:global TsVeth; :global TsBridge; :global TsBusy; :global TsPurge;

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
:global TsRoot; :global TsMine; :global TsDrop; :global TsMounts; :global TsSet; :global TsText;
:global TsRead; :global TsUser; :global TsLists; :global TsPath; :global TsIds;

:onerror Err in={
  $TsLoad "settings-tailscale";
  :local Unfit [ $TsReady ];
  :local State "";
  :local Ours false;
  # who uses what is ours
  :local Lists "";
  :local Envs "";
  :local Veth "";
  :local Holder "";
  :if ([ :len $Unfit ] = 0) do={
    $TsLoad "library-tailscale";
    # looked at before anything is changed: a container takes its folder along
    :foreach Id in=[ $TsMine ] do={
      :local Root ([ $TsRead $Id ]->"root-dir");
      :local User [ $TsUser $Root ({ $Id }) ];
      :if ([ :len $User ] > 0) do={
        :error ("the folder " . $Root . " is that of the " . $User . " too: remove or move that one");
      }
    }
  }
  # no run of the scheduler may start it again meanwhile
  /system/scheduler/remove [ find where name="update-tailscale" comment="mikrotik-tailscale" ];
  :set TsBusy [ /system/resource/get uptime ];
  :if ([ :len $Unfit ] > 0) do={ :put ("containers are left alone: " . $Unfit); } else={
    :local Count 0;
    :foreach Id in=[ $TsMine ] do={
      $TsDrop $Id;
      :set Count ($Count + 1);
    }
    :put ("containers removed: " . $Count);
    :set State [ $TsRoot "state" ];
    :set TsText [ :parse ":global TsIds; :set TsIds [ /container/find ]" ];
    $TsText;
    :foreach Id in=$TsIds do={
      :local All [ $TsRead $Id ];
      :local Name ("container " . ($All->"name"));
      :if ([ $TsLists $All "mountlists" "mounts" ] ~ ",tailscale,") do={ :set Lists $Name; }
      :if ([ $TsLists $All "envlists" "envlist" ] ~ ",tailscale,") do={ :set Envs $Name; }
      :if (($All->"interface") = $TsVeth) do={ :set Veth $Name; }
    }
    :foreach Key,Row in=[ $TsMounts ] do={
      :if (($Row->"list") = "tailscale" && ($Row->"dst") = "/var/lib/tailscale") do={
        # older installations made it without a comment
        :set Ours (($Row->"comment") = "mikrotik-tailscale" || ($Row->"src") = $State);
        :set State ($Row->"src");
        :if ($Ours && [ :len $Lists ] > 0) do={
          :put ("kept: the mount list tailscale, which the " . $Lists . " uses");
        }
        :if ($Ours && [ :len $Lists ] = 0) do={
          :set TsText [ :parse ("/container/mounts/remove " . ($Row->"id")) ];
          $TsText;
        }
        :if (!$Ours) do={ :put "kept: the mount list tailscale, which was here before"; }
      }
    }
    :set Holder [ $TsUser $State ({}) ];
    :local Path [ $TsPath $State ];
    :foreach Key,Row in=[ $TsMounts ] do={
      :local Other [ $TsPath ($Row->"src") ];
      :if ([ :pick $Other 0 [ :len $Path ] ] = $Path || [ :pick $Path 0 [ :len $Other ] ] = $Other) do={
        :if (($Row->"list") != "tailscale" || [ :len $Lists ] > 0) do={
          :set Holder ("mount list " . ($Row->"list"));
        }
      }
    }
    :if ([ :len $Envs ] = 0) do={
      :set TsText [ :parse ("/container/envs/remove [ find where comment=\"mikrotik-tailscale\" ]") ];
      $TsText;
    } else={ :put ("kept: the environment tailscale, which the " . $Envs . " uses"); }
    :if ([ $TsSet "tmpdir" ] = "tailscale-tmp") do={
      :set TsText [ :parse "/container/config/set tmpdir=\"\"" ];
      $TsText;
    }
  }
  :foreach Id in=[ /disk/find where slot="tailscale-tmp" comment="mikrotik-tailscale" ] do={
    /disk/remove $Id;
  }

  /ip/dns/static/remove [ find where comment="mikrotik-tailscale" ];
  /ip/route/remove [ find where comment="mikrotik-tailscale" ];
  /ipv6/route/remove [ find where comment="mikrotik-tailscale" ];
  :if ([ :len $Veth ] = 0) do={
    /interface/bridge/port/remove [ find where comment="mikrotik-tailscale" ];
    /interface/veth/remove [ find where comment="mikrotik-tailscale" ];
    # somebody else may be on our bridge
    :if ([ :len [ /interface/bridge/port/find where bridge=$TsBridge ] ] > 0) do={
      :set Veth "other ports of the bridge";
    }
  }
  :if ([ :len $Veth ] = 0) do={
    /ipv6/address/remove [ find where comment="mikrotik-tailscale" ];
    /ip/address/remove [ find where comment="mikrotik-tailscale" ];
    /interface/list/member/remove [ find where comment="mikrotik-tailscale" ];
    /interface/bridge/remove [ find where comment="mikrotik-tailscale" ];
    :put "network removed";
  } else={ :put ("kept: the network of " . $TsBridge . ", for the " . $Veth); }

  /system/script/remove [ find where name="tailscale-state" ];
  :if ($TsPurge = true) do={
    :if ([ :len $Holder ] > 0) do={
      :put ("kept: " . $State . ", which the " . $Holder . " uses");
      :set Ours false;
    }
    :if ($Ours) do={
      # the folder and what is in it, not what only begins like it
      :foreach File in=[ /file/find ] do={
        :local Name [ :tostr [ /file/get $File name ] ];
        :if ([ :pick ($Name . "/") 0 ([ :len $State ] + 1) ] = ($State . "/")) do={
          # one goes with the folder that it is in
          :onerror Gone in={ /file/remove $File; } do={ :set Name $Gone; }
        }
      }
    } else={
      :if ([ :len $State ] > 0 && [ :len $Holder ] = 0) do={
        :put ("kept: " . $State . ", which was here before");
      }
    }
    /system/script/remove [ find where name="settings-tailscale" ];
    :put "settings removed: take the node out of your tailnet's machine list too";
  } else={
    :put ("kept: the node's identity in " . $State . " and the script settings-tailscale");
  }
  :foreach Id in=[ /system/scheduler/find where name="update-tailscale" ] do={
    /system/scheduler/set $Id disabled=yes;
    :put "kept, but disabled: the schedule update-tailscale, which was here before";
  }
  :foreach Id in=[ /interface/veth/find where name=$TsVeth ] do={
    :put ("kept: interface " . $TsVeth . ", which was here before");
  }
  :foreach Id in=[ /ip/route/find where dst-address=100.64.0.0/10 ] do={
    :put "kept: the route to 100.64.0.0/10, which was here before";
  }
  /system/script/remove [ find where name="update-tailscale" ];
  /system/script/remove [ find where name="library-tailscale" ];
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
