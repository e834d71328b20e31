# -- functions --------------------------------------------------------------------------------
:global TsSay; :global TsVersion; :global TsField; :global TsRecord; :global TsLook;
:global TsUntil; :global TsGone; :global TsDrop; :global TsAddText; :global TsPull;
:global TsHealth; :global TsAlarm; :global TsStop; :global TsRun; :global TsRoot; :global TsAsk;
:global TsConnected; :global TsLinked; :global TsAdopt; :global TsKeepText;

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

# folder of image a or b, of the state ("state"): name
:set TsRoot do={
  :global TsDisk; :global TsFolder;
  :local Path ($TsFolder . "/" . $1);
  :if ([ :len $TsDisk ] > 0) do={ :set Path ($TsDisk . "/" . $Path); }
  :return $Path;
}

# what is recorded in the configuration survives a power cut in one piece:
# digest in use, digest found bad, number of tries, digest on trial, whether it must be connected
:set TsRecord do={
  :local Text ("digest=" . $1 . " bad=" . $2 . " tries=" . $3 . " trial=" . $4 . \
    " need=" . $5);
  :local Found [ /system/script/find where name="tailscale-state" ];
  :if ([ :len $Found ] = 0) do={
    /system/script/add name="tailscale-state" policy=read,write comment=$Text \
      source="# data of update-tailscale: see the comment of this script";
  } else={
    :if ([ /system/script/get $Found comment ] != $Text) do={
      /system/script/set $Found comment=$Text;
    }
  }
}

# what is known of a container: id
:set TsLook do={
  :global TsField;
  :local All [ /container/get $1 ];
  :local State "busy";
  :if (($All->"running") = true || ($All->"status") = "running") do={ :set State "running"; }
  :if (($All->"stopped") = true || ($All->"status") = "stopped") do={ :set State "stopped"; }
  :if ($State = "busy" && [ :typeof ($All->"status") ] = "nothing") do={
    # not every version puts the flags into the whole record
    :onerror Err in={
      :if ([ /container/get $1 running ] = true) do={ :set State "running"; }
      :if ([ /container/get $1 stopped ] = true) do={ :set State "stopped"; }
    } do={ :set State "busy"; }
  }
  :return ({ "id"=$1; "state"=$State; "name"=($All->"name"); "boot"=($All->"start-on-boot"); \
    "image"=([ :len ($All->"image-id") ] > 0 || [ :len ($All->"tag") ] > 0); \
    "digest"=[ $TsField ($All->"comment") "digest" ] });
}

# wait for a state: id, state, seconds -> true if it came
:set TsUntil do={
  :global TsLook;
  :local Left $3;
  :while ($Left > 0 && ([ $TsLook $1 ]->"state") != $2) do={
    :delay 2s;
    :set Left ($Left - 2);
  }
  :return ($Left > 0);
}

# wait until a container is really gone: id -> true if it is
:set TsGone do={
  :local Left 120;
  :local Id $1;
  :while ($Left > 0 && [ :len [ /container/find where .id=$Id ] ] > 0) do={
    :delay 2s;
    :set Left ($Left - 2);
  }
  :return ($Left > 0);
}

# stop a container and wait for it: id -> true if it is stopped
:set TsStop do={
  :global TsLook;
  :local Left 60;
  :local Asked false;
  :local Now [ $TsLook $1 ];
  # one that is just starting is stopped as soon as it runs; one that is stopping is waited for
  :while ($Left > 0 && ($Now->"state") != "stopped") do={
    :if (($Now->"state") = "running" && !$Asked) do={
      /container/stop $1;
      :set Asked true;
    }
    :delay 2s;
    :set Left ($Left - 2);
    :set Now [ $TsLook $1 ];
  }
  :return ($Left > 0);
}

# make a container the one that starts on boot and after a crash: id
:set TsAdopt do={
  :global TsKeepText;
  :local Code [ :parse ("/container/set " . $1 . " start-on-boot=yes" . [ $TsKeepText ]) ];
  $Code;
}

# start a container if it does not run, to be kept running: id -> true if it runs
:set TsRun do={
  :global TsLook; :global TsUntil; :global TsAdopt;
  :local Left 60;
  :local Now [ $TsLook $1 ];
  :while ($Left > 0 && ($Now->"state") = "busy") do={
    :delay 2s;
    :set Left ($Left - 2);
    :set Now [ $TsLook $1 ];
  }
  :if (($Now->"state") = "running") do={ :return true; }
  :if (($Now->"boot") != true) do={ $TsAdopt $1; }
  /container/start $1;
  :return [ $TsUntil $1 "running" 60 ];
}

# remove a container and what its folder leaves: id
:set TsDrop do={
  :global TsLook; :global TsGone; :global TsStop;
  :if (([ $TsLook $1 ]->"image")) do={ $TsStop $1; }
  /container/remove $1;
  :if ([ $TsGone $1 ] = false) do={ :error "a container does not go away"; }
}

# the arguments that keep a container running, as far as the version has them
:set TsKeepText do={
#@ if universal
  :global TsVersion;
  :local Version [ $TsVersion ];
  :if ($Version >= 72300) do={ :return " restart-policy=on-failure restart-interval=10s"; }
  :if ($Version >= 72000) do={ :return " auto-restart-interval=10s"; }
#@ end
#@ if 7.20-7.22
  :return " auto-restart-interval=10s";
#@ end
#@ if 7.23
  :return " restart-policy=on-failure restart-interval=10s";
#@ end
#@ if universal
  :return "";
#@ end
#@ if -7.19
  :return "";
#@ end
}

# the text of /container/add: letter, image reference or file, digest, start on boot
:set TsAddText do={
  :global TsVersion; :global TsRoot; :global TsVeth; :global TsHostname; :global TsDns;
  :global TsTmpfs; :global TsMemory; :global TsKeepText;
  :local Host $TsHostname;
  :if ([ :len $Host ] = 0) do={ :set Host [ /system/identity/get name ]; }
  :local Text ("/container/add name=\"tailscale-" . $1 . "\" root-dir=\"" . [ $TsRoot $1 ] . "\"" . \
    " interface=\"" . $TsVeth . "\" hostname=\"" . $Host . "\" logging=yes start-on-boot=" . $4 . \
    " entrypoint=\"{{ENTRYPOINT}}\" cmd=\"{{CMD}}\"" . \
    " comment=\"mikrotik-tailscale digest=" . $3 . "\" " . $2);
  :if ([ :len $TsDns ] > 0) do={ :set Text ($Text . " dns=\"" . $TsDns . "\""); }
#@ if universal
  # arguments that some versions do not know would make this whole script unreadable to them
  :local Version [ $TsVersion ];
  :if ($Version < 72000) do={ :set Text ($Text . " envlist=\"tailscale\""); }
  :if ($Version >= 72000) do={ :set Text ($Text . " envlists=\"tailscale\" check-certificate=yes"); }
  :if ($Version < 72100) do={ :set Text ($Text . " mounts=\"tailscale\""); }
  :if ($Version >= 72100) do={ :set Text ($Text . " mountlists=\"tailscale\""); }
  :if ($Version >= 72102 && $TsTmpfs != "0") do={
    :set Text ($Text . " tmpfs=\"" . $TsTmpfs . "@{{TMPFS}}\"");
  }
  :if ($Version >= 72302) do={ :set Text ($Text . " ignore-remote-image-change=yes"); }
  :if ($Version >= 72300) do={
    :if ([ :len $TsMemory ] > 0) do={ :set Text ($Text . " memory-max=\"" . $TsMemory . "\""); }
  }
#@ end
#@ if -7.19
  :set Text ($Text . " envlist=\"tailscale\" mounts=\"tailscale\"");
#@ end
#@ if 7.20-7.20
  :set Text ($Text . " envlists=\"tailscale\" check-certificate=yes mounts=\"tailscale\"");
#@ end
#@ if 7.21
  :set Text ($Text . " envlists=\"tailscale\" check-certificate=yes mountlists=\"tailscale\"");
#@ end
#@ if 7.21.2
  :if ($TsTmpfs != "0") do={ :set Text ($Text . " tmpfs=\"" . $TsTmpfs . "@{{TMPFS}}\""); }
#@ end
#@ if 7.23.2
  :set Text ($Text . " ignore-remote-image-change=yes");
#@ end
#@ if 7.23
  :if ([ :len $TsMemory ] > 0) do={ :set Text ($Text . " memory-max=\"" . $TsMemory . "\""); }
#@ end
  # one that is only tried must not start again by itself while the old one is brought back
  :if ($4 = "yes") do={ :set Text ($Text . [ $TsKeepText ]); }
  :return $Text;
}

# add a container and wait until its image is on flash: letter, source, digest, boot -> id
:set TsPull do={
  :global TsAddText; :global TsLook; :global TsDrop; :global TsRoot; :global TsPullSeconds;
  # what a removal that lost its power has left in the folder
  :local Root [ $TsRoot $1 ];
  :foreach File in=[ /file/find where name=$Root ] do={ /file/remove $File; }
  :local Add [ :parse [ $TsAddText $1 $2 $3 $4 ] ];
  $Add;
  :local Wanted ("tailscale-" . $1);
  :local Id [ /container/find where name=$Wanted ];
  :if ([ :len $Id ] != 1) do={ :error "the new container is not there"; }
  :set Id ($Id->0);
  :local Left $TsPullSeconds;
  :local Bare 0;
  :local Now [ $TsLook $Id ];
  # stopped without an image for a while: the pull failed, and nothing else will say so
  :while ($Left > 0 && $Bare < 30 && (($Now->"state") != "stopped" || ($Now->"image") = false)) do={
    :delay 5s;
    :set Left ($Left - 5);
    :set Now [ $TsLook $Id ];
    :if (($Now->"state") = "stopped" && ($Now->"image") = false) do={ :set Bare ($Bare + 5); }
  }
  :if (($Now->"state") != "stopped" || ($Now->"image") = false) do={
    $TsDrop $Id;
    :error "the image could not be pulled";
  }
  :return $Id;
}

# what "tailscale status" says in a container: id -> text, "" where the version has no shell for it
:set TsAsk do={
  :global TsVersion; :global TsOutput;
  :local Code;
#@ if universal
  :local Version [ $TsVersion ];
  :local Limit "";
  :if ($Version >= 72100) do={ :set Limit " timeout=20"; }
  :if ($Version >= 72000) do={
    :set Code [ :parse (":global TsOutput; :set TsOutput [ :tostr [ /container/shell " . $1 . \
      " cmd=\"tailscale status\" as-value" . $Limit . " ] ]") ];
  }
#@ end
#@ if 7.20-7.20
  :set Code [ :parse (":global TsOutput; :set TsOutput [ :tostr [ /container/shell " . $1 . \
    " cmd=\"tailscale status\" as-value ] ]") ];
#@ end
#@ if 7.21
  :set Code [ :parse (":global TsOutput; :set TsOutput [ :tostr [ /container/shell " . $1 . \
    " cmd=\"tailscale status\" as-value timeout=20 ] ]") ];
#@ end
  :set TsOutput "";
  :if ([ :typeof $Code ] = "code") do={
    :onerror Err in={ $Code; } do={ :set TsOutput ("no answer: " . $Err); }
  }
  :return $TsOutput;
}

# true if that text shows a connected node: text
:set TsConnected do={
  :return ($1 ~ "100\\.[0-9]+\\.[0-9]+\\.[0-9]+");
}

# true if the container is in the tailnet: id
:set TsLinked do={
  :global TsAsk; :global TsConnected; :global TsProbe;
  # another node that answers says more than a status; RouterOS 7.19 has no other way
  :if ([ :len $TsProbe ] > 0) do={ :return ([ /ping $TsProbe count=1 ] > 0); }
  :return [ $TsConnected [ $TsAsk $1 ] ];
}

# watch a container: id, true if it must be connected -> "" or what is wrong
:set TsHealth do={
  :global TsLook; :global TsLinked;
  :global TsAddress; :global TsPing; :global TsHealthSeconds;
  :local Good 0;
  :local Left ($TsHealthSeconds * 3);
  :local Seen false;
  :local Wrong "it does not run";
  :while ($Left > 0 && $Good < $TsHealthSeconds) do={
    :delay 5s;
    :set Left ($Left - 5);
    :set Wrong "";
    :if (([ $TsLook $1 ]->"state") = "running") do={ :set Seen true; } else={
      :set Wrong "it does not run";
      # it ran and stopped again: no use to wait for more
      :if ($Seen) do={ :set Left 0; }
    }
    :if ($Wrong = "" && $TsPing) do={
      :if ([ /ping $TsAddress count=1 ] = 0) do={ :set Wrong "its address does not answer"; }
    }
    :if ($Wrong = "" && $2 = true) do={
      :if ([ $TsLinked $1 ] = false) do={ :set Wrong "tailscale is not connected"; }
    }
    :if ($Wrong = "") do={ :set Good ($Good + 5); } else={ :set Good 0; }
  }
  :if ($Good >= $TsHealthSeconds) do={ :return ""; }
  :return $Wrong;
}

# something needs a person: text
:set TsAlarm do={
  :global TsSay; :global TsAlarmScript; :global TsAlarmText;
  :set TsAlarmText $1;
  $TsSay error $1;
  :if ([ :len $TsAlarmScript ] > 0) do={
    :onerror Err in={ /system/script/run $TsAlarmScript; } do={
      $TsSay warning ("the alarm script failed: " . $Err);
    }
  }
}
