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
#@ if universal
  :if ([ $TsVersion ] < 71900) do={ :return "RouterOS {{MINIMUM}} or newer is needed"; }
#@ end
#@ if fixed
  :if ([ $TsVersion ] < {{FROM}} || [ $TsVersion ] > {{TO}}) do={
    :return "this script was rendered for RouterOS {{RENDERED}}; use the one for this version";
  }
#@ end
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
