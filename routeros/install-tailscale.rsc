#!rsc by RouterOS
# RouterOS script: install-tailscale
# mikrotik-tailscale v1.104.5-mt.1; rendered for RouterOS 7.19 and newer; do not edit
#
# requires RouterOS, version=7.19
# requires device-mode, container, fetch, scheduler
#
# Makes everything that the container needs and installs it; run it again at any time. One rule for
# everything: what is there and as it must be stays as it is; what is there and different is named,
# and nothing is changed. ":global TsAdopt true" before takes it over: it is set as it must be, and
# another Tailscale container makes way for this one, which keeps its login.
# What it makes has the comment "mikrotik-tailscale":
#   /interface/veth, /interface/bridge with port and list member, /ip/address, /ip/route,
#   /ipv6/address and route (if set), /container/mounts and envs, /ip/dns/static (if set),
#   /system/script x5, /system/scheduler x1, a /disk in RAM for pulls (if there is RAM for it),
#   and through update-tailscale the /container
# docs/USAGE.md#installation

# one block: what /import reads line by line forgets its variables
{
:global TsImage; :global TsDisk; :global TsFolder; :global TsVeth; :global TsBusy; :global TsChecked;
:global TsAdopt; :global TsMake; :global TsFaults; :global TsStore; :global TsEnsure;
:global TsObjects; :global TsSource; :global TsRetry; :global TsText; :global TsUndo; :global TsBack;

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
:global TsRoot; :global TsMine; :global TsRun; :global TsStop; :global TsDrop; :global TsLook;
:global TsMounts; :global TsStrangers; :global TsTmp; :global TsUntil; :global TsUser; :global TsPath;
:global TsArg; :global TsCode;

# the text of a script: name, true if the one that is stored counts more than the file
:set TsText do={
  :global TsAdopt;
  :local Wanted $1;
  :local File [ /file/find where name=($1 . ".rsc") ];
  :local Found [ /system/script/find where name=$Wanted ];
  :local Old "";
  :if ([ :len $Found ] > 0) do={ :set Old [ /system/script/get ($Found->0) source ]; }
  :if ([ :len $File ] = 0 || ($2 && [ :len $Found ] > 0)) do={
    :if ([ :len $Found ] = 0) do={ :error ("upload " . $1 . ".rsc first"); }
    :return $Old;
  }
  :if ([ :len $Found ] > 0 && !($Old ~ ("RouterOS script: " . $1)) && $TsAdopt != true) do={
    :error ("the script " . $1 . " is another one; \":global TsAdopt true\" replaces it");
  }
  :local Source [ /file/get ($File->0) contents ];
  :if ([ :len $Source ] = 0) do={ :error ($1 . ".rsc is empty or too long to read"); }
  :return $Source;
}

# store it: name, policy, true if the one that is stored counts more
:set TsStore do={
  :global TsSay; :global TsText; :global TsUndo;
  :local Wanted $1;
  :local Source [ $TsText $1 $3 ];
  :local Free ($2 = "read,write,test");
  :local Found [ /system/script/find where name=$Wanted ];
  :if ([ :len $Found ] = 0) do={
    /system/script/add name=$Wanted policy=$2 source=$Source dont-require-permissions=$Free \
      comment="mikrotik-tailscale";
    $TsSay info ("script " . $1 . " stored");
    :return "";
  }
  :local Row [ /system/script/get ($Found->0) ];
  :if (($Row->"source") != $Source) do={
    :if (!(($Row->"source") ~ ("RouterOS script: " . $1))) do={
      :local Old ({ "source"=($Row->"source"); "policy"=($Row->"policy"); \
        "dont-require-permissions"=($Row->"dont-require-permissions") });
      :set ($TsUndo->("script " . $1)) ({ "menu"="/system/script"; "id"=($Found->0); "old"=$Old });
    }
    /system/script/set ($Found->0) source=$Source policy=$2 dont-require-permissions=$Free;
    $TsSay info ("script " . $1 . " replaced");
  }
}

# the rule: menu, items that the key found, what they must be, what people call it
:set TsEnsure do={
  :global TsMake; :global TsFaults; :global TsAdopt; :global TsArg; :global TsRow; :global TsCode;
  :global TsPlain; :global TsSay; :global TsUndo;
  :local Ids $2;
  :if ([ :len $Ids ] = 0) do={
    :if ($TsMake) do={
      :set TsArg ({ "comment"="mikrotik-tailscale" });
      :foreach Key,Value in=$3 do={ :set ($TsArg->$Key) $Value; }
      $TsCode ($1 . "/add");
    }
    :return "";
  }
  :local First true;
  :foreach Id in=$Ids do={
    :local Wrong ({});
    :local Grown ({});
    :if ($First) do={
      :local Get [ :parse (":global TsRow; :set TsRow [ " . $1 . "/get " . $Id . " ]") ];
      $Get;
      :foreach Key,Value in=$3 do={
        :local Have [ $TsPlain ($TsRow->$Key) ];
        :local Same ($Have = [ $TsPlain $Value ]);
        :if ($Key = "disabled" && [ :len $Have ] = 0) do={ :set Same true; }
        :if ($Key = "interval" || $Key = "start-time") do={
          :set Same ([ :totime $Have ] = [ :totime $Value ]);
        }
        # a start that was chosen otherwise is as good as ours, none is not
        :if ($Key = "start-date") do={ :set Same ([ :len $Have ] > 0); }
        :if ($Key = "policy") do={
          :set Same true;
          :foreach Word in=[ :toarray $Value ] do={
            :if ([ :typeof [ :find ("," . $Have . ",") ("," . $Word . ",") ] ] != "num") do={
              :set Same false;
            }
          }
        }
        # an older installation gave its schedule less than the scripts need today
        :if (!$Same && $Key = "policy" && ($TsRow->"comment") = "mikrotik-tailscale") do={
          :set ($Grown->$Key) $Value;
          :set Same true;
        }
        :if (!$Same) do={
          :set ($Wrong->$Key) $Value;
          :if (!$TsMake) do={
            :set TsFaults ($TsFaults, ($4 . " has " . $Key . "=" . $Have . ", needed is " . $Value));
          }
        }
      }
    } else={
      :if ([ :typeof ($3->"disabled") ] != "nothing") do={ :set Wrong ({ "disabled"="yes" }); }
      :if (!$TsMake) do={ :set TsFaults ($TsFaults, ($4 . " is there more than once")); }
    }
    :if ($TsAdopt = true) do={
      :foreach Key,Value in=$Wrong do={ :set ($Grown->$Key) $Value; }
    }
    :if ($TsMake && [ :len $Grown ] > 0) do={
      :local Old ({ "disabled"="false" });
      :if ($First) do={
        :set Old ({});
        :foreach Key,Value in=$Grown do={ :set ($Old->$Key) [ $TsPlain ($TsRow->$Key) ]; }
      }
      :set ($TsUndo->($4 . " " . $Id)) ({ "menu"=$1; "id"=$Id; "old"=$Old });
      :set TsArg ({});
      :foreach Key,Value in=$Grown do={ :set ($TsArg->$Key) $Value; }
      $TsCode ($1 . "/set") $Id;
      $TsSay info ($4 . " adopted");
    }
    :set First false;
  }
}

# put back what a take-over has changed of somebody's set-up
:set TsBack do={
  :global TsUndo; :global TsArg; :global TsCode; :global TsSay;
  :foreach Key,Row in=$TsUndo do={
    :onerror Bad in={
      :set TsArg ($Row->"old");
      $TsCode (($Row->"menu") . "/set") ($Row->"id");
    } do={ $TsSay warning ($Key . " could not be put back: " . $Bad); }
  }
  :set TsUndo ({});
}

# let pulls unpack in RAM or on the disk, unless somebody has said where
:set TsTmp do={
  :global TsDisk; :global TsTmpDir; :global TsSet; :global TsSay;
  :global TsArg; :global TsCode;
  :if ([ :len [ $TsSet "tmpdir" ] ] > 0 || $TsTmpDir = "none") do={ :return ""; }
  :local Wanted $TsTmpDir;
  :if ([ :len $Wanted ] = 0 && [ :len $TsDisk ] > 0) do={ :set Wanted ($TsDisk . "/tmp"); }
  :if ([ :len $Wanted ] = 0 && [ /system/resource/get free-memory ] > 167772160) do={
    # a failure only means that pulls need flash, as without it
    :onerror Err in={
      :if ([ :len [ /disk/find where slot="tailscale-tmp" ] ] = 0) do={
        /disk/add type=tmpfs tmpfs-max-size=64M slot=tailscale-tmp comment="mikrotik-tailscale";
      }
      :set Wanted "tailscale-tmp";
    } do={ $TsSay warning ("no disk in RAM for pulls: " . $Err); }
  }
  :if ([ :len $Wanted ] > 0) do={
    :set TsArg ({ "tmpdir"=$Wanted });
    $TsCode "/container/config/set";
  }
}

# everything that is needed, each found by the key by which it is used; TsMake says if it is made
:set TsObjects do={
  :global TsEnsure; :global TsVeth; :global TsBridge; :global TsGateway; :global TsAddress;
  :global TsMask; :global TsGateway6; :global TsAddress6; :global TsMask6; :global TsMagicDns;
  :global TsMounts; :global TsSource; :global TsVersion; :global TsMake; :global TsFaults;
  :global TsCode; :global TsArg;
  :local Six ([ :len $TsAddress6 ] > 0);
  :local Version [ $TsVersion ];
  $TsEnsure "/interface/bridge" [ /interface/bridge/find where name=$TsBridge ] \
    ({ "name"=$TsBridge; "disabled"="false" }) ("bridge " . $TsBridge);
  :local Veth ({ "name"=$TsVeth; "address"=($TsAddress . "/" . $TsMask); "gateway"=$TsGateway; \
    "disabled"="false" });
  :if ($Six) do={
    :set ($Veth->"address") ($TsAddress . "/" . $TsMask . "," . $TsAddress6 . "/" . $TsMask6);
    :set ($Veth->"gateway6") $TsGateway6;
  }
  $TsEnsure "/interface/veth" [ /interface/veth/find where name=$TsVeth ] $Veth ("veth " . $TsVeth);
  :if ([ :len [ /interface/veth/find where name=$TsVeth ] ] = 0) do={
    :if ([ :len [ /interface/find where name=$TsVeth ] ] > 0) do={
      :set TsFaults ($TsFaults, ("interface " . $TsVeth . " is no veth; set TsVeth"));
    }
  }
  $TsEnsure "/interface/bridge/port" [ /interface/bridge/port/find where interface=$TsVeth ] \
    ({ "bridge"=$TsBridge; "interface"=$TsVeth; "disabled"="false" }) ("port " . $TsVeth);
  :local Own ($TsGateway . "/" . $TsMask);
  $TsEnsure "/ip/address" [ /ip/address/find where address=$Own ] \
    ({ "address"=$Own; "interface"=$TsBridge; "disabled"="false" }) ("address " . $Own);
  # the default firewall takes only what comes from the list LAN
  :if ([ :len [ /interface/list/find where name="LAN" ] ] > 0) do={
    $TsEnsure "/interface/list/member" \
      [ /interface/list/member/find where list="LAN" interface=$TsBridge ] \
      ({ "list"="LAN"; "interface"=$TsBridge; "disabled"="false" }) ("list LAN, " . $TsBridge);
  }
  :local Routes ({});
  :foreach Id in=[ /ip/route/find where dst-address=100.64.0.0/10 ] do={
    # another table, a dynamic one or one that is off is no concern of ours
    :local Row [ /ip/route/get $Id ];
    :local Table [ :tostr ($Row->"routing-table") ];
    :if (($Table = "" || $Table = "main") && ($Row->"dynamic") != true && \
        ($Row->"disabled") != true) do={
      :set Routes ($Routes, $Id);
    }
  }
  $TsEnsure "/ip/route" $Routes ({ "dst-address"="100.64.0.0/10"; "gateway"=$TsAddress; \
    "disabled"="false" }) "route 100.64.0.0/10";
  :if ($Six) do={
    :set Own ($TsGateway6 . "/" . $TsMask6);
    $TsEnsure "/ipv6/address" [ /ipv6/address/find where address=$Own ] \
      ({ "address"=$Own; "interface"=$TsBridge; "advertise"="false"; "disabled"="false" }) \
      ("address " . $Own);
    $TsEnsure "/ipv6/route" [ /ipv6/route/find where dst-address=fd7a:115c:a1e0::/48 ] \
      ({ "dst-address"="fd7a:115c:a1e0::/48"; "gateway"=$TsAddress6; "disabled"="false" }) \
      "route fd7a:115c:a1e0::/48";
  }
  :if ([ :len $TsMagicDns ] > 0) do={
    $TsEnsure "/ip/dns/static" [ /ip/dns/static/find where name=$TsMagicDns ] \
      ({ "name"=$TsMagicDns; "type"="FWD"; "forward-to"="100.100.100.100"; \
      "match-subdomain"="true"; "disabled"="false" }) ("DNS name " . $TsMagicDns);
  }
  :if ($TsMake) do={
    # the node's identity lives outside the image, so that no update touches it
    :local There false;
    :foreach Key,Row in=[ $TsMounts ] do={
      :if (($Row->"list") = "tailscale" && ($Row->"dst") = "/var/lib/tailscale") do={ :set There true; }
    }
    :local List "list";
    :if (!$There) do={
      :if ($Version < 72100) do={ :set List "name"; }
      :set TsArg ({ "src"=$TsSource; "dst"="/var/lib/tailscale"; "comment"="mikrotik-tailscale" });
      :set ($TsArg->$List) "tailscale";
      $TsCode "/container/mounts/add";
    }
    :set List "list";
    :if ($Version < 72000) do={ :set List "name"; }
    :global TsCount;
    :local Envs [ :parse (":global TsCount; :set TsCount [ :len [ /container/envs/find where " . \
      $List . "=\"tailscale\" key=\"TS_LOG_VERBOSITY\" ] ]") ];
    $Envs;
    :if ($TsCount = 0) do={
      :set TsArg ({ "key"="TS_LOG_VERBOSITY"; "value"="0"; "comment"="mikrotik-tailscale" });
      :set ($TsArg->$List) "tailscale";
      $TsCode "/container/envs/add";
    }
  }
  # last: with the mounts there, it knows a node that runs on the same login
  # start date and time are said outright: 7.24.0 to 7.24.4 never run a schedule without them
  $TsEnsure "/system/scheduler" [ /system/scheduler/find where name="update-tailscale" ] \
    ({ "name"="update-tailscale"; "on-event"="update-tailscale"; "interval"="15m"; \
    "start-date"="2026-01-01"; "start-time"="00:07:00"; "disabled"="false"; \
    "policy"="ftp,read,write,policy,test" }) "schedule update-tailscale";
}

:local Stranger "";
:set TsUndo ({});
:onerror Err in={
  :local Unfit [ $TsReady ];
  :local Mode [ /system/device-mode/get ];
  :if (($Mode->"container") != true || ($Mode->"fetch") != true || ($Mode->"scheduler") != true) do={
    :put "run this once and confirm it with the button or by cutting the power within 5 minutes:";
    :put "  /system/device-mode/update container=yes fetch=yes scheduler=yes";
    :if ([ :len $Unfit ] = 0 || $Unfit ~ "device-mode") do={
      :set Unfit "device-mode does not allow containers, fetch and scheduler yet";
    }
  }
  :if ([ :len $Unfit ] > 0) do={ :error $Unfit; }
  :if ([ $TsVersion ] > 72499) do={
    :put "note: this RouterOS is newer than the scripts know, it is treated as 7.24";
  }

  # read from the files, not stored yet: until everything is looked at nothing is changed
  :foreach Name in=({ "update-tailscale"; "status-tailscale"; "uninstall-tailscale" }) do={
    $TsText $Name false;
  }
  :foreach Name in=({ "settings-tailscale"; "library-tailscale" }) do={
    :local Code [ :parse [ $TsText $Name ($Name = "settings-tailscale") ] ];
    $Code;
  }
  :if ($TsImage ~ "OWNER") do={ :error "set TsImage in the script settings-tailscale first"; }
  # inside the container the interface has this name, and Tailscale takes such a one for its own
  :if ($TsVeth ~ "^tailscale") do={ :error "TsVeth must not begin with \"tailscale\""; }
  :if ([ :len $TsDisk ] > 0) do={
    :if ([ :len [ /disk/find where slot=$TsDisk ] ] = 0) do={
      :error ("the disk " . $TsDisk . " is not there");
    }
  }
  :if ([ :len $TsDisk ] = 0 && !($TsFolder ~ "^flash/")) do={
    :if ([ :len [ /file/find where name="flash" type="disk" ] ] > 0) do={
      :error "only flash/ survives a restart of this device: set TsDisk, or TsFolder to flash/tailscale";
    }
  }

  # -- look, before anything is changed --
  :set TsFaults ({});
  :set TsMake false;
  $TsObjects;
  :set TsSource [ $TsRoot "state" ];
  :local Used "";
  :local Else ({});
  :foreach Key,Row in=[ $TsMounts ] do={
    :if (($Row->"dst") = "/var/lib/tailscale") do={
      :if (($Row->"list") = "tailscale") do={ :set Used ($Row->"src"); } else={
        :set Else ($Else, ($Row->"src"));
      }
    }
  }
  :local Final "";
  :foreach Key,Row in=[ $TsStrangers ] do={
    :local Name ("container " . ($Row->"name"));
    :if (($Row->"tail") = false) do={
      :set Final ($Name . " uses the interface " . $TsVeth . "; set TsVeth to another name");
    } else={
      :set TsFaults ($TsFaults, ($Name . " is a Tailscale too"));
      :if ([ :len $Stranger ] > 0) do={ :set Final "there are several: remove all but one"; }
      :if ([ :len ($Row->"src") ] = 0) do={
        :set Final ($Name . " keeps its login in its image: log out there and remove it first");
      }
      :set Stranger $Row;
      :set Else ({ ($Row->"src") });
    }
  }
  :if ([ :len $Used ] > 0) do={ :set Else ({ $Used }); }
  :foreach Source in=$Else do={
    :if ($Source != $TsSource) do={
      :set TsFaults ($TsFaults, ("the login of a Tailscale node is in " . $Source . ", not in " . \
        $TsSource));
      :local Own [ /file/find where name=([ $TsRoot "state" ] . "/tailscaled.state") ];
      :if ([ :len $Own ] > 0 && [ :len $Used ] = 0) do={
        :set Final ("two folders hold a login, " . $TsSource . " and " . $Source . ": set TsState");
      }
      :if ($TsSource != [ $TsRoot "state" ]) do={ :set Final "several folders hold a login: set TsState"; }
      :set TsSource $Source;
    }
  }
  # what is in a folder goes with the container that has it
  :local Mine [ $TsMine ];
  :foreach Part in=({ "a"; "b"; "state" }) do={
    :local User [ $TsUser [ $TsRoot $Part ] $Mine ];
    :if ([ :len $User ] > 0) do={
      :set Final ("the " . $User . " has the folder " . [ $TsRoot $Part ] . ", one in it or one around " . \
        "it: set TsFolder to another name");
    }
  }
  :if ([ :len $Stranger ] > 0) do={
    :local Root [ $TsPath ($Stranger->"root") ];
    :if ([ :pick [ $TsPath $TsSource ] 0 [ :len $Root ] ] = $Root) do={
      :set Final ("the login in " . $TsSource . " would go with the folder of the container " . \
        ($Stranger->"name") . ": log out there and remove it first");
    }
    :local User [ $TsUser $Root ({ ($Stranger->"id") }) ];
    :if ([ :len $User ] > 0) do={
      :set Final ("the " . $User . " and the container " . ($Stranger->"name") . " have one folder");
    }
  }
  :if ([ :len $Final ] > 0) do={ :error $Final; }
  :if ([ :len $TsFaults ] > 0) do={
    :foreach Fault in=$TsFaults do={ :put ("there already: " . $Fault); }
    :if ($TsAdopt != true) do={
      :error ("nothing was changed, this is there already: " . ($TsFaults->0) . \
        ". Set other names in settings-tailscale, or \":global TsAdopt true\" takes it over");
    }
  }

  # -- make what is missing --
  :local Policy "ftp,read,write,policy,test";
  $TsStore "settings-tailscale" $Policy true;
  $TsStore "library-tailscale" $Policy false;
  $TsStore "update-tailscale" $Policy false;
  # anybody who may run scripts can ask how it goes
  $TsStore "status-tailscale" "read,write,test" false;
  $TsStore "uninstall-tailscale" $Policy false;
  :set TsMake true;
  $TsObjects;
  $TsTmp;
  :if ([ :len [ /ip/firewall/raw/find where !disabled ] ] > 0) do={
    :put "note: there are raw firewall rules; they must let the bridge of the container through";
  }
  :if ([ :len [ /ip/firewall/nat/find where chain="srcnat" action="masquerade" ] ] = 0) do={
    :put "note: no masquerade rule was found; the container needs one to reach the internet";
  }

  # the other one makes way before ours starts: two daemons on one state would spoil it
  :local Ran false;
  :local Starts false;
  :local Wrong "";
  :set TsChecked;
  :set TsRetry;
  :onerror Bad in={
    :if ([ :len $Stranger ] > 0) do={
      :set Ran (($Stranger->"state") != "stopped");
      :set Starts (([ $TsLook ($Stranger->"id") ]->"boot") = true);
      :local Id ($Stranger->"id");
      :local Boot [ :parse ("/container/set " . $Id . " start-on-boot=no") ];
      :if ([ $TsStop $Id ] = false) do={ :error "the other container does not stop"; }
      $Boot;
      :put ("the container " . ($Stranger->"name") . " is stopped; its login goes to the new one");
    }
    /system/script/run update-tailscale;
    :if ([ :len $Stranger ] > 0) do={
      # to run for a moment is not enough: what stood its trial is recorded
      :set Wrong "it does not run as it must";
      :local Found [ /system/script/find where name="tailscale-state" ];
      :local Note "";
      :if ([ :len $Found ] > 0) do={ :set Note [ /system/script/get ($Found->0) comment ]; }
      :foreach Id in=[ $TsMine ] do={
        :local Now [ $TsLook $Id ];
        :if (($Now->"state") = "running" && [ :len ($Now->"digest") ] > 0 && \
            ($Now->"digest") = [ $TsField $Note "digest" ]) do={
          :set Wrong "";
        }
      }
    }
  } do={ :set Wrong $Bad; }
  :if ([ :len $Stranger ] = 0 && [ :len $Wrong ] > 0) do={ :error $Wrong; }
  :if ([ :len $Stranger ] > 0) do={
    :if ([ :len $Wrong ] = 0) do={ $TsDrop ($Stranger->"id"); } else={
      :local Back "and the old one was not running";
      :if ($Ran) do={ :set Back "and the old one does not start"; }
      :onerror Bad in={
        # only one of them may run, whatever is asked first
        :foreach Id in=[ $TsMine ] do={ $TsDrop $Id; }
        $TsBack;
        :local Same true;
        :onerror Worse in={
          :set TsArg ({ "start-on-boot"="yes" });
          :if ($Starts) do={ $TsCode "/container/set" ($Stranger->"id"); }
        } do={ :set Same false; }
        :if ($Ran) do={
          :if ([ $TsRun ($Stranger->"id") $Same ]) do={ :set Back "the old one is back"; }
        }
      } do={ :set Back ($Back . ": " . $Bad); }
      $TsAlarm ("no take-over, the new container failed (" . $Wrong . "), " . $Back);
      :error "nothing was taken over; see /log";
    }
  }
  :set TsAdopt;
  :set TsUndo ({});
  :if ([ :len [ $TsMine ] ] = 0) do={ :error "no container was installed; see /log"; }
  :put "installed. If the node is new, log in with:";
  :put "  /container/shell [find where comment~\"^mikrotik-tailscale\"] cmd=\"tailscale up\"";
  :put "then: /system/script/run status-tailscale";
} do={
  $TsSay error ("installation stopped: " . $Err);
  # nothing of a set-up that runs on is left half changed
  :if ([ :len $Stranger ] > 0 && [ :len $TsUndo ] > 0) do={ $TsBack; }
}
}
