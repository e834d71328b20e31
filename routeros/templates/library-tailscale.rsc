#!rsc by RouterOS
# RouterOS script: library-tailscale
# mikrotik-tailscale {{RELEASE}}; rendered for RouterOS {{RENDERED}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
# requires device-mode, container, fetch
#
# The functions of the other *-tailscale scripts. Every command of /container is here: RouterOS
# reads a script whole before it runs it, and refuses one that names a menu which is not there.
# docs/USAGE.md#automatic-updates

{
:global TsRoot; :global TsRecord; :global TsMine; :global TsLook; :global TsAlive; :global TsUntil;
:global TsGone; :global TsStop; :global TsKeep; :global TsRun; :global TsDrop; :global TsWipe;
:global TsCode; :global TsKeepText; :global TsAdd; :global TsReason; :global TsPull; :global TsAsk;
:global TsConnected; :global TsLinked; :global TsHealth; :global TsFree; :global TsChoose;
:global TsHeal; :global TsOther; :global TsTidy; :global TsTrial; :global TsSave; :global TsTry;
:global TsPlain; :global TsStrangers; :global TsMounts; :global TsNeeded;
:global TsSet; :global TsStay; :global TsRead; :global TsPath; :global TsUser; :global TsLists;
:global TsSick; :global TsLibrary;

# who loads this asks whether it is of the same release
:set TsLibrary "{{RELEASE}}";

# a path or value as plain text: no slash before it, commas between the parts of a list
:set TsPlain do={
  :local Text "";
  :foreach Part in=$1 do={
    :if ([ :len $Text ] > 0) do={ :set Text ($Text . ","); }
    :set Text ($Text . [ :tostr $Part ]);
  }
  :if ([ :pick $Text 0 1 ] = "/") do={ :return [ :pick $Text 1 [ :len $Text ] ]; }
  :return $Text;
}

# what a container is: id -> its record, an empty one if it is gone by now
:set TsRead do={
  :local All ({});
  :onerror Err in={ :set All [ /container/get $1 ]; } do={
    # one that is being removed can be gone; what cannot be read is not nothing
    :if ([ :typeof [ :find [ /container/find ] $1 ] ] = "num") do={
      :error ("a container cannot be read: " . $Err);
    }
  }
  :return $All;
}

# a path as it is compared, ending in a slash, whatever its slashes and capitals are. Not every
# device and version says flash/ where it means the internal flash
:set TsPath do={
  :global TsPlain;
  :local Path ("/" . [ :convert [ $TsPlain $1 ] transform=lc ] . "/");
  :local At [ :find $Path "//" ];
  :while ([ :typeof $At ] = "num") do={
    :set Path ([ :pick $Path 0 $At ] . [ :pick $Path ($At + 1) [ :len $Path ] ]);
    :set At [ :find $Path "//" ];
  }
  :if ([ :pick $Path 0 7 ] = "/flash/") do={ :return [ :pick $Path 6 [ :len $Path ] ]; }
  :return $Path;
}

# who has a folder, or one in it or above it: path, ids that do not count -> "" or who
:set TsUser do={
  :global TsPath; :global TsRead;
  :local Path [ $TsPath $1 ];
  :local Free $2;
  :foreach Id in=[ /container/find ] do={
    :if ([ :typeof [ :find $Free $Id ] ] != "num") do={
      :local All [ $TsRead $Id ];
      :local Root [ $TsPath ($All->"root-dir") ];
      :if ($Root != "/" && ([ :pick $Root 0 [ :len $Path ] ] = $Path || \
          [ :pick $Path 0 [ :len $Root ] ] = $Root)) do={
        :return ("container " . ($All->"name"));
      }
    }
  }
  :return "";
}

# the lists that a container names: record, how they are called, how older versions call them
:set TsLists do={
  :global TsPlain;
  :return ("," . [ $TsPlain ($1->$2) ] . "," . [ $TsPlain ($1->$3) ] . ",");
}

# folder of image a or b, of the state ("state"): name
:set TsRoot do={
  :global TsDisk; :global TsFolder; :global TsState; :global TsPlain;
  :if ($1 = "state" && [ :len $TsState ] > 0) do={ :return [ $TsPlain $TsState ]; }
  :local Path ($TsFolder . "/" . $1);
  :if ([ :len $TsDisk ] > 0) do={ :set Path ($TsDisk . "/" . $Path); }
  :return [ $TsPlain $Path ];
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

# our containers: comments are edited and containers renamed, so one of comment, name and folder
# counts; others have such names and folders too, so what it starts and its login count as well
# -> ids
:set TsMine do={
  :global TsRoot; :global TsPlain; :global TsPath; :global TsRead; :global TsLists;
  :local Found ({});
  :foreach Id in=[ /container/find ] do={
    :local All [ $TsRead $Id ];
    :if (($All->"entrypoint") = "{{ENTRYPOINT}}") do={
      :local Dir [ $TsPlain ($All->"root-dir") ];
      :local Name [ :tostr ($All->"name") ];
      :local Like ([ :tostr ($All->"comment") ] ~ "^mikrotik-tailscale" || $Name = "tailscale-a" || \
        $Name = "tailscale-b" || $Dir = [ $TsRoot "a" ] || $Dir = [ $TsRoot "b" ]);
      :if (!$Like) do={
        :set Dir [ $TsPath $Dir ];
        :set Like ($Dir = [ $TsPath [ $TsRoot "a" ] ] || $Dir = [ $TsPath [ $TsRoot "b" ] ]);
      }
      :if ($Like && ([ $TsPlain ($All->"cmd") ] ~ "tailscaled[.]state" || \
          [ $TsLists $All "mountlists" "mounts" ] ~ ",tailscale,")) do={
        :set Found ($Found, $Id);
      }
    }
  }
  :return $Found;
}

# what is known of a container: id
:set TsLook do={
  :global TsField; :global TsPlain; :global TsRoot; :global TsPath;
  :local All [ /container/get $1 ];
  :local State "busy";
  :local Sick false;
  :local Apart ([ :typeof ($All->"running") ] = "nothing");
  # with a health check the others may stand in the place of running, or beside it
  :foreach Flag in=({ "running"; "healthy"; "unhealthy"; "starting-with-healthcheck"; "stopped" }) do={
    :local Has (($All->$Flag) = true || ($All->"status") = $Flag);
    :if (!$Has && ($Apart || $State = "busy") && [ :typeof ($All->$Flag) ] = "nothing" && \
        [ :typeof ($All->"status") ] = "nothing") do={
      # not every version puts the flags into the whole record
      :onerror Err in={ :set Has ([ /container/get $1 $Flag ] = true); } do={ :set Has false; }
    }
    :if ($Has) do={
      :set State "running";
      :if ($Flag = "stopped") do={ :set State "stopped"; }
      :if ($Flag = "unhealthy") do={ :set Sick true; }
    }
  }
  # a comment can be edited: the reference that was pulled says it too
  :local Digest [ $TsField [ :tostr ($All->"comment") ] "digest" ];
  :local Image [ :tostr ($All->"remote-image") ];
  :local At [ :find $Image "@sha256:" ];
  :if ([ :len $Digest ] = 0 && [ :typeof $At ] = "num") do={
    :set Digest [ :pick $Image ($At + 1) [ :len $Image ] ];
  }
  :local Letter "";
  :local Dir [ $TsPlain ($All->"root-dir") ];
  :if ($Dir = [ $TsRoot "a" ]) do={ :set Letter "a"; }
  :if ($Dir = [ $TsRoot "b" ]) do={ :set Letter "b"; }
  :if ([ :len $Letter ] = 0) do={
    :set Dir [ $TsPath $Dir ];
    :foreach One in=({ "a"; "b" }) do={
      :if ($Dir = [ $TsPath [ $TsRoot $One ] ]) do={ :set Letter $One; }
    }
  }
  # a tag is there before the image is, and stays when the pull fails
  :return ({ "id"=$1; "state"=$State; "name"=($All->"name"); "boot"=($All->"start-on-boot"); \
    "image"=([ :len ($All->"image-id") ] > 0); "digest"=$Digest; "letter"=$Letter; "sick"=$Sick });
}

# true if one of ours runs
:set TsAlive do={
  :global TsMine; :global TsLook;
  :foreach Id in=[ $TsMine ] do={
    :if (([ $TsLook $Id ]->"state") = "running") do={ :return true; }
  }
  :return false;
}

# all mounts -> array of records: id, list, src, dst
:set TsMounts do={
  :global TsPlain;
  :local Found ({});
  :foreach Id in=[ /container/mounts/find ] do={
    :local Row [ /container/mounts/get $Id ];
    :local List [ :tostr ($Row->"list") ];
    :if ([ :len $List ] = 0) do={ :set List [ :tostr ($Row->"name") ]; }
    :set ($Found->[ :tostr $Id ]) ({ "id"=$Id; "list"=$List; "src"=[ $TsPlain ($Row->"src") ]; \
      "dst"=[ :tostr ($Row->"dst") ]; "comment"=[ :tostr ($Row->"comment") ] });
  }
  :return $Found;
}

# containers of others that are a Tailscale, or on our interface -> array of records
:set TsStrangers do={
  :global TsMine; :global TsLook; :global TsMounts; :global TsLists; :global TsRead; :global TsVeth;
  :local Mine [ $TsMine ];
  :local Mounts [ $TsMounts ];
  :local Found ({});
  :foreach Id in=[ /container/find ] do={
    :if ([ :typeof [ :find $Mine $Id ] ] != "num") do={
      :local All [ $TsRead $Id ];
      :local Lists [ $TsLists $All "mountlists" "mounts" ];
      :local Envs [ $TsLists $All "envlists" "envlist" ];
      :local Folder "/var/lib/tailscale";
      :foreach Env in=[ /container/envs/find where key="TS_STATE_DIR" ] do={
        :local Row [ /container/envs/get $Env ];
        :local List ("," . ($Row->"list") . ($Row->"name") . ",");
        :if ([ :typeof [ :find $Envs $List ] ] = "num") do={ :set Folder ($Row->"value"); }
      }
      :local State "";
      :foreach Key,Row in=$Mounts do={
        :if (($Row->"dst") = $Folder && \
            [ :typeof [ :find $Lists ("," . ($Row->"list") . ",") ] ] = "num") do={
          :set State ($Row->"src");
        }
      }
      # not its folder: many things are kept in one called tailscale
      :local Text (($All->"name") . " " . ($All->"remote-image") . " " . ($All->"file") . " " . \
        ($All->"tag"));
      :local Tail ($Text ~ "tailscale" || [ :len $State ] > 0);
      :local Shared (($All->"interface") = $TsVeth);
      :if ($Tail || $Shared) do={
        :set ($Found->[ :tostr $Id ]) ({ "id"=$Id; "name"=[ :tostr ($All->"name") ]; "tail"=$Tail; \
          "src"=$State; "state"=([ $TsLook $Id ]->"state"); "root"=($All->"root-dir") });
      }
    }
  }
  :return $Found;
}

# what a setting of /container/config is: name -> value
:set TsSet do={
  :global TsPlain;
  :return [ $TsPlain [ /container/config/get $1 ] ];
}

# bytes that a pull needs where the images are: half of it if it unpacks in RAM
:set TsNeeded do={
  :global TsNeed; :global TsSet;
  :local Dir [ $TsSet "tmpdir" ];
  :local Slot $Dir;
  :local At [ :find $Dir "/" ];
  :if ([ :typeof $At ] = "num") do={ :set Slot [ :pick $Dir 0 $At ]; }
  :if ([ :len $Slot ] > 0) do={
    :if ([ :len [ /disk/find where slot=$Slot type="tmpfs" ] ] > 0) do={ :return ($TsNeed / 2); }
  }
  :return $TsNeed;
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
  :global TsLook; :global TsVersion; :global TsSay;
  :local Left 90;
  :local Asked false;
  :local Killed false;
  :local Now [ $TsLook $1 ];
  # one that is just starting is stopped as soon as it runs; one that is stopping is waited for
  :while ($Left > 0 && ($Now->"state") != "stopped") do={
    # what waits for its first health check may not say that it runs
    :if (!$Asked && ($Now->"image") && (($Now->"state") = "running" || $Left < 60)) do={
      :onerror Err in={ /container/stop $1; :set Asked true; } do={ :set Asked false; }
    }
    :if ($Left <= 30 && !$Killed && [ $TsVersion ] >= 72100) do={
      :set Killed true;
      $TsSay warning "a container does not stop and is killed";
      :local Text [ :parse ("/container/kill " . $1) ];
      $Text;
    }
    :delay 2s;
    :set Left ($Left - 2);
    :set Now [ $TsLook $1 ];
  }
  :return ($Left > 0);
}

# run a command with the values of TsArg, which so never become code: command, id
:set TsCode do={
  :global TsArg;
  :local Text (":global TsArg; " . $1 . " " . $2);
  :foreach Key,Value in=$TsArg do={
    :set Text ($Text . " " . $Key . "=(\$TsArg->\"" . $Key . "\")");
  }
  :local Code [ :parse $Text ];
  $Code;
}

# the arguments that keep a container running, as far as the version has them
:set TsKeepText do={
  :global TsVersion;
  :local Version [ $TsVersion ];
  :if ($Version >= 72300) do={ :return ({ "restart-policy"="on-failure"; "restart-interval"="10s" }); }
  :if ($Version >= 72000) do={ :return ({ "auto-restart-interval"="10s" }); }
  :return ({});
}

# make a container the one that starts on boot and after a crash: id
:set TsKeep do={
  :global TsKeepText; :global TsArg; :global TsCode;
  :set TsArg ({ "start-on-boot"="yes" });
  :foreach Key,Value in=[ $TsKeepText ] do={ :set ($TsArg->$Key) $Value; }
  $TsCode "/container/set" $1;
}

# the same for one that runs: id
:set TsStay do={
  :global TsLook; :global TsKeep; :global TsStop; :global TsRun;
  :if (([ $TsLook $1 ]->"boot") != true) do={
    :onerror Err in={ $TsKeep $1; } do={
      # refused while it runs
      $TsStop $1;
      :if ([ $TsRun $1 ] = false) do={ :error "the container does not start again"; }
    }
  }
}

# start a container if it does not run, to be kept running: id, true to keep its settings as they
# are -> true if it runs
:set TsRun do={
  :global TsLook; :global TsUntil; :global TsKeep; :global TsSay;
  :local Left 60;
  :local Now [ $TsLook $1 ];
  :while ($Left > 0 && ($Now->"state") = "busy") do={
    :delay 2s;
    :set Left ($Left - 2);
    :set Now [ $TsLook $1 ];
  }
  :if (($Now->"state") = "running") do={ :return true; }
  :local Came false;
  :for Try from=1 to=2 do={
    :if (!$Came) do={
      :onerror Err in={
        :if (([ $TsLook $1 ]->"boot") != true && $2 != true) do={ $TsKeep $1; }
        /container/start $1;
        :set Came [ $TsUntil $1 "running" 60 ];
        # the first health check can take that long
        :if (!$Came && ([ $TsLook $1 ]->"state") = "busy") do={ :set Came [ $TsUntil $1 "running" 90 ]; }
      } do={
        $TsSay warning ("a start was refused: " . $Err);
        :delay 5s;
        :set Came (([ $TsLook $1 ]->"state") = "running");
      }
    }
  }
  :return $Came;
}

# remove a container, with which its folder goes: id
:set TsDrop do={
  :global TsLook; :global TsGone; :global TsStop; :global TsRead; :global TsUser;
  :local Root ([ $TsRead $1 ]->"root-dir");
  :local User [ $TsUser $Root ({ $1 }) ];
  :if ([ :len $User ] > 0) do={
    :error ("not removed: the folder " . $Root . " is that of the " . $User . " too");
  }
  :if (([ $TsLook $1 ]->"image")) do={
    :if ([ $TsStop $1 ] = false) do={ :error "a container does not stop"; }
  }
  /container/remove $1;
  :if ([ $TsGone $1 ] = false) do={ :error "a container does not go away"; }
}

# remove the folder of an image if nobody has it or its name: letter -> "" or who has it
:set TsWipe do={
  :global TsRoot; :global TsPath; :global TsUser; :global TsMounts;
  :local Root [ $TsRoot $1 ];
  :local User [ $TsUser $Root ({}) ];
  :local Path [ $TsPath $Root ];
  :foreach Key,Row in=[ $TsMounts ] do={
    :if ([ :pick [ $TsPath ($Row->"src") ] 0 [ :len $Path ] ] = $Path) do={
      :set User ("mount list " . ($Row->"list"));
    }
  }
  # others use such names too
  :local Name ("tailscale-" . $1);
  :if ([ :len [ /container/find where name=$Name ] ] > 0) do={ :set User ("container " . $Name); }
  :if ([ :len $User ] > 0) do={ :return $User; }
  :foreach File in=[ /file/find where name=$Root ] do={ /file/remove $File; }
  :return "";
}

# add a container: letter, "file" or "remote-image", its value, digest, start on boot
:set TsAdd do={
  :global TsVersion; :global TsRoot; :global TsVeth; :global TsHostname; :global TsDns;
  :global TsTmpfs; :global TsMemory; :global TsKeepText; :global TsArg; :global TsCode;
  :global TsCertificate; :global TsSay;
  :local Version [ $TsVersion ];
  :local Host $TsHostname;
  :if ([ :len $Host ] = 0) do={ :set Host [ /system/identity/get name ]; }
  :local Base ({ "name"=("tailscale-" . $1); "root-dir"=[ $TsRoot $1 ]; "interface"=$TsVeth; \
    "hostname"=$Host; "logging"="yes"; "start-on-boot"=$5; "entrypoint"="{{ENTRYPOINT}}"; \
    "cmd"=("{{CMD}}"); "comment"=("mikrotik-tailscale digest=" . $4) });
  :set ($Base->$2) $3;
  :if ([ :len $TsDns ] > 0) do={ :set ($Base->"dns") $TsDns; }
  :if ($Version < 72000) do={ :set ($Base->"envlist") "tailscale"; } else={
    :set ($Base->"envlists") "tailscale";
    :set ($Base->"check-certificate") "yes";
    :if ($TsCertificate = "no") do={ :set ($Base->"check-certificate") "no"; }
  }
  :if ($Version < 72100) do={ :set ($Base->"mounts") "tailscale"; } else={
    :set ($Base->"mountlists") "tailscale";
  }
  # what makes it better, where the version knows it; arguments that a version does not know would
  # make the whole script unreadable to it
  :local More ({});
  # one that is only tried must not start again by itself while the old one is brought back
  :if ($5 = "yes") do={ :set More [ $TsKeepText ]; }
  :if ($Version >= 72102 && $TsTmpfs != "0") do={
    :set ($More->"tmpfs") ($TsTmpfs . "@{{TMPFS}}");
  }
  :if ($Version >= 72302) do={ :set ($More->"ignore-remote-image-change") "yes"; }
  :if ($Version >= 72300 && [ :len $TsMemory ] > 0) do={ :set ($More->"memory-max") $TsMemory; }
  # made anew: an array that is only assigned might be the same one under two names
  :set TsArg ({});
  :foreach Part in=({ $Base; $More }) do={
    :foreach Key,Value in=$Part do={ :set ($TsArg->$Key) $Value; }
  }
  :onerror Err in={ $TsCode "/container/add"; } do={
    :local First $Err;
    :local Wanted ("tailscale-" . $1);
    # it can be there all the same
    :if ([ :len [ /container/find where name=$Wanted ] ] = 0) do={
      # a version that nobody knew: without the arguments that can be done without
      :set TsArg $Base;
      $TsCode "/container/add";
      $TsSay warning ("added without " . [ :len $More ] . " optional arguments: " . $First);
    }
  }
}

# why a pull failed, from the log: number of its lines before -> text
:set TsReason do={
  :local Lines [ /log/find where topics~"container" ];
  :local From $1;
  :if ([ :len $Lines ] <= $From) do={ :set From 0; }
  :local Text "";
  :for I from=$From to=([ :len $Lines ] - 1) do={
    :if ([ :len $Lines ] > 0) do={
      :local Line [ :tostr [ /log/get ($Lines->$I) message ] ];
      :if ($Line ~ "rror|ail|enied|enough|pace|crl|CRL|ertificate|40[0-9]|50[0-9]|imeout") do={
        :set Text $Line;
      }
    }
  }
  :if ([ :len $Text ] = 0) do={ :return ""; }
  :local Cure "";
  :if ($Text ~ "40[134]|auth|enied") do={ :set Cure "; the registry refuses it: see TsImage"; }
  :if ($Text ~ "pace|enough") do={ :set Cure "; free flash, or set TsDisk"; }
  :if ($Text ~ "ertificate|SSL|ssl") do={ :set Cure "; clock and trusted CAs, see TsCertificate"; }
  :if ($Text ~ "crl|CRL") do={ :set Cure "; /certificate/settings/set crl-use=no, see TsCertificate"; }
  :return (": " . [ :pick $Text 0 100 ] . $Cure);
}

# add a container and wait until its image is on flash: letter, kind, source, digest, boot -> id
:set TsPull do={
  :global TsAdd; :global TsLook; :global TsDrop; :global TsRoot; :global TsPullSeconds;
  :global TsWipe; :global TsReason;
  # what a removal that lost its power has left in the folder
  :local User [ $TsWipe $1 ];
  :if ([ :len $User ] > 0) do={ :error ("the folder " . [ $TsRoot $1 ] . " belongs to the " . $User); }
  :local Before [ :len [ /log/find where topics~"container" ] ];
  $TsAdd $1 $2 $3 $4 $5;
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
    :local Why [ $TsReason $Before ];
    $TsDrop $Id;
    :error ("the image could not be pulled" . $Why);
  }
  :return $Id;
}

# whether an add can work, before something is removed for it: letter -> "" or what refuses it.
# The row is made for an image that nobody has, and removed
:set TsTry do={
  :global TsAdd; :global TsDrop; :global TsWipe;
  :local User [ $TsWipe $1 ];
  :if ([ :len $User ] > 0) do={ :return ("its folder belongs to the " . $User); }
  :local Wrong "";
  :onerror Err in={ $TsAdd $1 "remote-image" "nobody.invalid/nothing:0" "trial" "no"; } do={
    :set Wrong $Err;
  }
  :local Wanted ("tailscale-" . $1);
  :local Found [ /container/find where name=$Wanted ];
  :if ([ :len $Found ] > 0) do={ $TsDrop ($Found->0); }
  :return $Wrong;
}

# what "tailscale status", or another command, says in a container: id, command -> text, "" where the
# version has no shell for it
:set TsAsk do={
  :global TsVersion; :global TsOutput;
  :local Version [ $TsVersion ];
  :set TsOutput "";
  :if ($Version < 72000) do={ :return ""; }
  :local Words $2;
  :if ([ :len $Words ] = 0) do={ :set Words "tailscale status"; }
  :local Limit "";
  :if ($Version >= 72100) do={ :set Limit " timeout=20"; }
  :onerror Err in={
    :local Code [ :parse (":global TsOutput; :set TsOutput [ :tostr [ /container/shell " . $1 . \
      " cmd=\"" . $Words . "\" as-value" . $Limit . " ] ]") ];
    $Code;
  } do={ :set TsOutput ("no answer: " . $Err); }
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

# true if its health check fails and it does not answer either: id
:set TsSick do={
  :global TsLook; :global TsAsk;
  :if (!([ $TsLook $1 ]->"sick")) do={ :return false; }
  :return ([ $TsAsk $1 ] ~ "failed to connect|no answer");
}

# watch a container: id, true if it must be connected -> "" or what is wrong
:set TsHealth do={
  :global TsLook; :global TsLinked; :global TsSick;
  :global TsAddress; :global TsPing; :global TsHealthSeconds;
  :local Good 0;
  :local Left ($TsHealthSeconds * 3);
  :local Seen false;
  :local Wrong "it does not run";
  :while ($Left > 0 && $Good < $TsHealthSeconds) do={
    :delay 5s;
    :set Left ($Left - 5);
    :set Wrong "";
    :local Now [ $TsLook $1 ];
    :if (($Now->"state") = "running") do={ :set Seen true; } else={
      :set Wrong "it does not run";
      # it ran and stopped again: no use to wait for more. One that cannot be read now is busy
      :if ($Seen && ($Now->"state") = "stopped") do={ :set Left 0; }
    }
    :if ($Wrong = "" && $TsPing) do={
      :if ([ /ping $TsAddress count=1 ] = 0) do={ :set Wrong "its address does not answer"; }
    }
    :if ($Wrong = "" && ($Now->"sick")) do={
      :if ([ $TsSick $1 ]) do={ :set Wrong "its health check fails"; }
    }
    :if ($Wrong = "" && $2 = true) do={
      :if ([ $TsLinked $1 ] = false) do={ :set Wrong "tailscale is not connected"; }
    }
    :if ($Wrong = "") do={ :set Good ($Good + 5); } else={ :set Good 0; }
  }
  :if ($Good >= $TsHealthSeconds) do={ :return ""; }
  :return $Wrong;
}

# bytes free where the images are
:set TsFree do={
  :global TsDisk;
  :if ([ :len $TsDisk ] = 0) do={ :return [ /system/resource/get free-hdd-space ]; }
  :return [ /disk/get [ find where slot=$TsDisk ] free ];
}

# the container to keep: recorded digest -> id, or "" if none has an image
# an image counts most, then that it runs, then that it is recorded, then that it starts on boot
:set TsChoose do={
  :global TsLook; :global TsMine;
  :local Best 7;
  :local Choice "";
  :foreach Id in=[ $TsMine ] do={
    :local Now [ $TsLook $Id ];
    :local Score 0;
    :if (($Now->"image")) do={ :set Score 8; }
    :if (($Now->"state") = "running") do={ :set Score ($Score + 4); }
    :if (($Now->"digest") = $1) do={ :set Score ($Score + 2); }
    :if (($Now->"boot") = true) do={ :set Score ($Score + 1); }
    :if ($Score > $Best) do={ :set Best $Score; :set Choice $Id; }
  }
  :return $Choice;
}

# let one container run, and only one: recorded digest -> its id, or ""
:set TsHeal do={
  :global TsChoose; :global TsLook; :global TsStop; :global TsRun; :global TsSay; :global TsAlarm;
  :global TsMine;
  :local Active [ $TsChoose $1 ];
  :if ([ :len $Active ] = 0) do={ :return ""; }
  :local Rest ({});
  :foreach Id in=[ $TsMine ] do={
    :if ($Id != $Active) do={
      :local Now [ $TsLook $Id ];
      :if (($Now->"image")) do={
        # two daemons on one state would spoil it
        :if ([ $TsStop $Id ] = false) do={ :error "a second container does not stop"; }
        :set Rest ($Rest, $Id);
      }
    }
  }
  :if (([ $TsLook $Active ]->"state") = "running") do={ :return $Active; }
  # one that hangs while it stops must be stopped before anything can start
  :if (([ $TsLook $Active ]->"state") = "busy") do={ $TsStop $Active; }
  :if ([ $TsRun $Active ]) do={
    $TsSay warning "the container did not run and has been started";
    :return $Active;
  }
  :foreach Id in=$Rest do={
    :if ([ $TsStop $Active ] = false) do={ :error "the container does not stop"; }
    :if ([ $TsRun $Id ]) do={
      $TsAlarm "the container does not start; the other image runs now";
      :return $Id;
    }
    :set Active $Id;
  }
  $TsAlarm "the container does not start" "none";
  :return $Active;
}

# the letter of the folder that a container does not use: id, or "" for none
:set TsOther do={
  :global TsLook;
  :if ([ :len $1 ] = 0) do={ :return "b"; }
  :local Now [ $TsLook $1 ];
  :if (($Now->"letter") = "a") do={ :return "b"; }
  # folders that were set otherwise when it was made: the name counts
  :if (($Now->"letter") = "" && ($Now->"name") = "tailscale-a") do={ :return "b"; }
  :return "a";
}

# remove what earlier runs left: id of the container to keep, ids of the others
:set TsTidy do={
  :global TsDrop; :global TsOther; :global TsWipe; :global TsStay;
  :foreach Id in=$2 do={ $TsDrop $Id; }
  $TsStay $1;
  $TsWipe [ $TsOther $1 ];
}

# keep a copy of a container's image: id, file -> true if this version can
:set TsSave do={
  :global TsVersion; :global TsArg; :global TsCode;
  :if ([ $TsVersion ] < 72400) do={ :return false; }
  :set TsArg ({ "file"=$2 });
  $TsCode "/container/save" $1;
  :return true;
}

# try a new container in place of the old: new id, old id, whether it must be connected,
# recorded digest, digest found bad -> "" if it took over, or what was wrong with it
:set TsTrial do={
  :global TsLook; :global TsStop; :global TsRun; :global TsUntil; :global TsDrop; :global TsHealth;
  :global TsRecord; :global TsAlarm; :global TsSay; :global TsAlarmText; :global TsStay;
  :local New $1;
  :local Old $2;
  :local Recorded $4;
  :local Bad $5;
  :local Wrong "";
  :local Judged false;
  :local Digest ([ $TsLook $New ]->"digest");
  :onerror Err in={
    :if ([ $TsStop $Old ] = false) do={ :error "the old container does not stop"; }
    # not yet started on boot: if the power goes now, the old one comes back
    :if (([ $TsLook $New ]->"state") != "running") do={ /container/start $New; }
    $TsUntil $New "running" 60;
    :set Wrong [ $TsHealth $New $3 ];
    :set Judged true;
  } do={
    :set Wrong $Err;
  }
  :if ($Wrong != "") do={
    :local Free [ $TsStop $New ];
    :if (([ $TsLook $New ]->"boot") = true) do={ /container/set $New start-on-boot=no; }
    :local Back false;
    # two daemons on one state would spoil it
    :if ($Free) do={ :set Back [ $TsRun $Old ]; }
    :if ($Judged) do={
      $TsRecord $Recorded $Digest 0 "" "";
      $TsDrop $New;
    }
    :if ($Back = false) do={
      $TsAlarm ("update failed (" . $Wrong . ") and the old container does not start") "none";
    } else={
      $TsAlarm ("update failed (" . $Wrong . "), the old container runs again");
    }
    :return $Wrong;
  }
  # it took over. Between the next two commands neither starts on boot, the scheduler would start
  # one; the other order could start both, and two daemons spoil the state
  :if (([ $TsLook $Old ]->"boot") = true) do={ /container/set $Old start-on-boot=no; }
  $TsStay $New;
  $TsDrop $Old;
  $TsRecord $Digest $Bad 0 "" "";
  :set TsAlarmText "";
  $TsSay info ("updated to " . [ :pick $Digest 0 19 ]);
  :return "";
}
}
