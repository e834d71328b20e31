# one block: what /import reads line by line forgets its variables
{
:global TsFiles; :global TsGo; :global TsTexts; :global TsBusy;
:local Policies ({});
{{POLICIES}}
:local Sums ({});
{{SUMS}}

# -- all of it, whole and right, before anything is looked at --
:local Texts ({});
:foreach Name,Sum in=$Sums do={
  :local Text "";
  :if ([:typeof $TsTexts] = "array") do={ :set Text ($TsTexts->$Name); } else={
    :if ([:len $TsFiles] = 0) do={ :error "set TsFiles to the address of the release's files"; }
    :local Answer [/tool/fetch url=($TsFiles . "/" . $Name . ".rsc") output=user as-value \
      check-certificate=yes-without-crl];
    :set Text ($Answer->"data");
  }
  :if ([:convert $Text from=raw to=hex transform=sha512] != $Sum) do={
    :error ($Name . ".rsc is not the one of {{RELEASE}}, or not whole; nothing was changed");
  }
  :set ($Texts->$Name) $Text;
}

# -- what would be done --
:local Work 0;
:local Lines ({});
:local Settings "";
:foreach Name,Text in=$Texts do={
  :local Found [/system/script/find where name=$Name];
  :local Line "new";
  :if ([:len $Found] > 0) do={
    :local Old [/system/script/get ($Found->0) source];
    :if (!($Old ~ ("RouterOS script: " . $Name))) do={
      :error ("the script " . $Name . " is somebody else's; nothing was changed");
    }
    :if ($Name = "settings-tailscale") do={
      # yours, and what it has not yet: a setting with the explanation above it
      :set Settings $Old;
      :set Line "stays";
      :local Rest $Text;
      :local At [:find $Rest "\n:global "];
      :while ([:typeof $At] = "num") do={
        :local Above [:pick $Rest 0 ($At + 1)];
        :set Rest [:pick $Rest ($At + 1) [:len $Rest]];
        :local End [:find $Rest "\n"];
        :local Key [:pick $Rest 8 $End];
        :set Key [:pick $Key 0 [:find $Key " "]];
        :if ([:typeof [:find ("\n" . $Old) ("\n:global " . $Key . " ")]] != "num") do={
          :if ($Line = "stays") do={ :set Line "stays, and gets"; }
          :set Line ($Line . " " . $Key);
          :set Settings ($Settings . $Above . [:pick $Rest 0 ($End + 1)]);
        }
        :set Rest [:pick $Rest $End [:len $Rest]];
        :set At [:find $Rest "\n:global "];
      }
      :if ($Settings != $Old) do={ :set Work ($Work + 1); }
    } else={
      :if ($Old = $Text) do={ :set Line "stays"; } else={
        :set Work ($Work + 1);
        :local Was [:pick $Old ([:find $Old "# mikrotik-tailscale "] + 21) [:len $Old]];
        :set Was [:pick $Was 0 [:find $Was "\n"]];
        :if ([:typeof [:find $Was ";"]] = "num") do={ :set Was [:pick $Was 0 [:find $Was ";"]]; }
        :set Line ($Was . " becomes {{RELEASE}}");
      }
    }
  } else={ :set Work ($Work + 1); }
  :set Lines ($Lines, ($Name . ": " . $Line));
  # the installer would take a file for newer than the script
  :if ($Name != "settings-tailscale" && [:len [/file/find where name=($Name . ".rsc")]] > 0) do={
    :set Work ($Work + 1);
    :set Lines ($Lines, ("the file " . $Name . ".rsc: removed"));
  }
}
:put "scripts of mikrotik-tailscale {{RELEASE}}:";
:foreach Line in=$Lines do={ :put ("  " . $Line); }

# -- by your word --
:if ($Work = 0) do={ :put "nothing to do"; } else={
  :if ($TsGo != true) do={
    :put "nothing was changed; to do it, enter this and then the same again:  :global TsGo true";
  } else={
    :local Uptime [/system/resource/get uptime];
    :if ([:typeof $TsBusy] = "time") do={
      :if (($Uptime - $TsBusy) < 2h) do={ :error "an update is running: try again in some minutes"; }
    }
    # no run of the scheduler meanwhile: it would find scripts of two releases
    :set TsBusy $Uptime;
    :local Wrong "";
    :onerror Err in={
      :foreach Name,Text in=$Texts do={
        :local Found [/system/script/find where name=$Name];
        :local Free "no";
        :if ($Name = "{{LOOKING}}") do={ :set Free "yes"; }
        :local Source $Text;
        :if ($Name = "settings-tailscale" && [:len $Found] > 0) do={ :set Source $Settings; }
        :if ([:len $Found] = 0) do={
          /system/script/add name=$Name policy=($Policies->$Name) source=$Source \
            dont-require-permissions=$Free comment="mikrotik-tailscale";
        } else={
          :if ([/system/script/get ($Found->0) source] != $Source) do={
            /system/script/set ($Found->0) policy=($Policies->$Name) source=$Source \
              dont-require-permissions=$Free;
          }
        }
        :if ($Name != "settings-tailscale") do={
          :foreach Id in=[/file/find where name=($Name . ".rsc")] do={ /file/remove $Id; }
        }
      }
    } do={ :set Wrong $Err; }
    :set TsBusy;
    :if ([:len $Wrong] > 0) do={ :error ("stopped half way, run it again: " . $Wrong); }
    :put "done; what installs and completes the rest:  /system/script/run install-tailscale";
  }
}
:set TsGo;
}
