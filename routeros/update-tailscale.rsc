#!rsc by RouterOS
# RouterOS script: update-tailscale
# mikrotik-tailscale v1.102.5-mt.1; rendered for RouterOS 7.19 and newer; do not edit
#
# requires RouterOS, version=7.19
# requires device-mode, container, fetch, scheduler
#
# Keeps the container running, and once per TsCheckEvery brings the image that the registry's
# tag points to: pulled beside the running one, tried, and only then put in its place.
# Settings: the script settings-tailscale. Changes nothing and logs nothing if there is no news.
# docs/USAGE.md#automatic-updates

# one block: what /import reads line by line forgets its variables
{
:global TsBusy; :global TsChecked; :global TsForce; :global TsTold; :global TsAlarmText;
:global TsImage; :global TsTag; :global TsTokenUrl; :global TsDisk; :global TsNeed;
:global TsInPlace; :global TsRollbackFile; :global TsCheckEvery; :global TsPullSeconds;
# an image from a file on the router instead of the registry, once: set by "invoke deploy"
:global TsLocalFile; :global TsLocalDigest;

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
  :global TsVersion;
  :local Version [ $TsVersion ];
  :if ($Version >= 72300) do={ :return " restart-policy=on-failure restart-interval=10s"; }
  :if ($Version >= 72000) do={ :return " auto-restart-interval=10s"; }
  :return "";
}

# the text of /container/add: letter, image reference or file, digest, start on boot
:set TsAddText do={
  :global TsVersion; :global TsRoot; :global TsVeth; :global TsHostname; :global TsDns;
  :global TsTmpfs; :global TsMemory; :global TsKeepText;
  :local Host $TsHostname;
  :if ([ :len $Host ] = 0) do={ :set Host [ /system/identity/get name ]; }
  :local Text ("/container/add name=\"tailscale-" . $1 . "\" root-dir=\"" . [ $TsRoot $1 ] . "\"" . \
    " interface=\"" . $TsVeth . "\" hostname=\"" . $Host . "\" logging=yes start-on-boot=" . $4 . \
    " entrypoint=\"/usr/local/bin/entrypoint.sh\" cmd=\"--no-logs-no-support " . \
    "--state=/var/lib/tailscale/tailscaled.state " . \
    "--socket=/var/run/tailscale/tailscaled.sock " . \
    "--statedir=/var/lib/tailscale\"" . \
    " comment=\"mikrotik-tailscale digest=" . $3 . "\" " . $2);
  :if ([ :len $TsDns ] > 0) do={ :set Text ($Text . " dns=\"" . $TsDns . "\""); }
  # arguments that some versions do not know would make this whole script unreadable to them
  :local Version [ $TsVersion ];
  :if ($Version < 72000) do={ :set Text ($Text . " envlist=\"tailscale\""); }
  :if ($Version >= 72000) do={ :set Text ($Text . " envlists=\"tailscale\" check-certificate=yes"); }
  :if ($Version < 72100) do={ :set Text ($Text . " mounts=\"tailscale\""); }
  :if ($Version >= 72100) do={ :set Text ($Text . " mountlists=\"tailscale\""); }
  :if ($Version >= 72102 && $TsTmpfs != "0") do={
    :set Text ($Text . " tmpfs=\"" . $TsTmpfs . "@/var/run/tailscale\"");
  }
  :if ($Version >= 72302) do={ :set Text ($Text . " ignore-remote-image-change=yes"); }
  :if ($Version >= 72300) do={
    :if ([ :len $TsMemory ] > 0) do={ :set Text ($Text . " memory-max=\"" . $TsMemory . "\""); }
  }
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
  :local Version [ $TsVersion ];
  :local Limit "";
  :if ($Version >= 72100) do={ :set Limit " timeout=20"; }
  :if ($Version >= 72000) do={
    :set Code [ :parse (":global TsOutput; :set TsOutput [ :tostr [ /container/shell " . $1 . \
      " cmd=\"tailscale status\" as-value" . $Limit . " ] ]") ];
  }
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
:global TsChoose; :global TsHeal; :global TsTrial; :global TsRemote; :global TsFree;
:global TsOther; :global TsTidy;

# bytes free where the images are
:set TsFree do={
  :global TsDisk;
  :if ([ :len $TsDisk ] = 0) do={ :return [ /system/resource/get free-hdd-space ]; }
  :return [ /disk/get [ find where slot=$TsDisk ] free ];
}

# the container to keep: recorded digest -> id, or "" if none has an image
# an image counts most, then that it runs, then that it is recorded, then that it starts on boot
:set TsChoose do={
  :global TsLook;
  :local Best 7;
  :local Choice "";
  :foreach Id in=[ /container/find where comment~"^mikrotik-tailscale " ] do={
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
  :local Active [ $TsChoose $1 ];
  :if ([ :len $Active ] = 0) do={ :return ""; }
  :local Rest ({});
  :foreach Id in=[ /container/find where comment~"^mikrotik-tailscale " ] do={
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
  :if ([ $TsRun $Active ]) do={
    $TsSay warning "the container did not run and has been started";
    :return $Active;
  }
  :foreach Id in=$Rest do={
    $TsStop $Active;
    :if ([ $TsRun $Id ]) do={
      $TsAlarm "the container does not start; the other image runs now";
      :return $Id;
    }
    :set Active $Id;
  }
  $TsAlarm "the container does not start";
  :return $Active;
}

# the letter of the folder that a container does not use: id, or "" for none
:set TsOther do={
  :global TsLook;
  :if ([ :len $1 ] = 0) do={ :return "b"; }
  :if (([ $TsLook $1 ]->"name") = "tailscale-a") do={ :return "b"; }
  :return "a";
}

# remove what earlier runs left: id of the container to keep, ids of the others
:set TsTidy do={
  :global TsDrop; :global TsOther; :global TsRoot;
  :foreach Id in=$2 do={ $TsDrop $Id; }
  :local Folder [ $TsRoot [ $TsOther $1 ] ];
  :foreach File in=[ /file/find where name=$Folder ] do={ /file/remove $File; }
}

# the digest that the tag points to now; raises an error if the registry does not say
:set TsRemote do={
  :global TsImage; :global TsTag; :global TsTokenUrl;
  :local Slash [ :find $TsImage "/" ];
  :local Host [ :pick $TsImage 0 $Slash ];
  :local Path [ :pick $TsImage ($Slash + 1) [ :len $TsImage ] ];
  :local Scope ("scope=repository:" . $Path . ":pull");
  :local Url $TsTokenUrl;
  :if ([ :len $Url ] = 0) do={
    :set Url ("https://" . $Host . "/v2/token\?service=container_registry&" . $Scope);
    :if ($Host = "ghcr.io") do={ :set Url ("https://ghcr.io/token\?service=ghcr.io&" . $Scope); }
    :if ($Host = "docker.io") do={
      :set Url ("https://auth.docker.io/token\?service=registry.docker.io&" . $Scope);
    }
  }
  :if ($Host = "docker.io") do={ :set Host "registry-1.docker.io"; }
  :local Fields ("Accept: application/vnd.oci.image.index.v1+json," . \
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json");
  :if ($Url != "none") do={
    :local Answer [ /tool/fetch url=$Url check-certificate=yes-without-crl output=user as-value ];
    :local Json [ :deserialize ($Answer->"data") from=json ];
    :local Token ($Json->"token");
    :if ([ :len $Token ] = 0) do={ :set Token ($Json->"access_token"); }
    :if ([ :len $Token ] = 0) do={ :error "the registry gave no token"; }
    :set Fields ("Authorization: Bearer " . $Token . "," . $Fields);
  }
  :local Head [ /tool/fetch url=("https://" . $Host . "/v2/" . $Path . "/manifests/" . $TsTag) \
    http-method=head http-header-field=$Fields check-certificate=yes-without-crl \
    output=user-with-headers as-value ];
  # a HEAD has no body: the only digest in the answer is that of the manifest
  :local Text [ :tostr $Head ];
  :local At [ :find $Text "sha256:" ];
  :if ([ :typeof $At ] != "num") do={ :error "the registry gave no digest"; }
  :local Digest [ :pick $Text $At ($At + 71) ];
  :if (!($Digest ~ "^sha256:[0-9a-f]{64}\$")) do={ :error "the registry gave no whole digest"; }
  :return $Digest;
}

# try a new container in place of the old: new id, old id, whether it must be connected,
# recorded digest, digest found bad -> "" if it took over, or what was wrong with it
:set TsTrial do={
  :global TsLook; :global TsStop; :global TsRun; :global TsUntil; :global TsDrop; :global TsHealth;
  :global TsRecord; :global TsAlarm; :global TsSay; :global TsAlarmText; :global TsAdopt;
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
    $TsStop $New;
    :if (([ $TsLook $New ]->"boot") = true) do={ /container/set $New start-on-boot=no; }
    :local Back [ $TsRun $Old ];
    :if ($Judged) do={
      $TsRecord $Recorded $Digest 0 "" "";
      $TsDrop $New;
    }
    :if ($Back = false) do={
      $TsAlarm ("update failed (" . $Wrong . ") and the old container does not start");
    } else={
      $TsAlarm ("update failed (" . $Wrong . "), the old container runs again");
    }
    :return $Wrong;
  }
  # it took over. Between the next two commands neither starts on boot, the scheduler would start
  # one; the other order could start both, and two daemons spoil the state
  :if (([ $TsLook $Old ]->"boot") = true) do={ /container/set $Old start-on-boot=no; }
  :if (([ $TsLook $New ]->"boot") != true) do={
    :onerror Err in={ $TsAdopt $New; } do={
      # refused while it runs
      $TsStop $New;
      :if ([ $TsRun $New ] = false) do={ :error "the new container does not start again"; }
    }
  }
  $TsDrop $Old;
  $TsRecord $Digest $Bad 0 "" "";
  :set TsAlarmText "";
  $TsSay info ("updated to " . [ :pick $Digest 0 19 ]);
  :return "";
}

# -- the run ------------------------------------------------------------------------------------
:local Mine false;
:local Quiet false;
:local Recorded "";
:onerror Err in={
  :local Uptime [ /system/resource/get uptime ];
  :if ([ :typeof $TsBusy ] = "time") do={
    :local Jobs [ :len [ /system/script/job/find where script="update-tailscale" ] ];
    :if (($Uptime - $TsBusy) < 2h || $Jobs > 1) do={
      :set Quiet true;
      :error "another run is still busy";
    }
  }
  :set TsBusy $Uptime;
  :set Mine true;

  :if ([ $TsVersion ] < 71900) do={ :error "RouterOS 7.19 or newer is needed"; }
  :if ([ :len [ /system/script/find where name="settings-tailscale" ] ] != 1) do={
    :error "there is no script settings-tailscale";
  }
  /system/script/run settings-tailscale;
  :if (!($TsImage ~ "^[^/]+\\.[^/]+/.")) do={ :error "TsImage must begin with the registry's host"; }
  :if ([ :len $TsDisk ] > 0) do={
    # a missing disk would silently become a folder of the internal flash
    :if ([ :len [ /disk/find where slot=$TsDisk ] ] = 0) do={
      :error ("the disk " . $TsDisk . " is not there");
    }
  }
  :local Mode [ /system/device-mode/get ];
  :if (($Mode->"container") = false) do={ :error "device-mode forbids containers"; }

  :local Note "";
  :local Found [ /system/script/find where name="tailscale-state" ];
  :if ([ :len $Found ] > 0) do={ :set Note [ /system/script/get $Found comment ]; }
  :set Recorded [ $TsField $Note "digest" ];
  :local Bad [ $TsField $Note "bad" ];

  # 1. one container runs, whatever an earlier run, a crash or a power cut has left
  :local Active [ $TsHeal $Recorded ];
  :local Digest "";
  :local Others ({});
  :foreach Id in=[ /container/find where comment~"^mikrotik-tailscale " ] do={
    :if ($Id = $Active) do={ :set Digest ([ $TsLook $Id ]->"digest"); } else={
      :set Others ($Others, $Id);
    }
  }
  :if ([ :len $Active ] > 0 && $Digest != $Recorded) do={
    :local Old "";
    :foreach Id in=$Others do={ :if (([ $TsLook $Id ]->"image")) do={ :set Old $Id; } }
    :if ([ :len $Old ] > 0) do={
      # a trial that was cut short: finish it
      :local Wrong [ $TsTrial $Active $Old ([ $TsField $Note "need" ] = "true") $Recorded $Bad ];
      :set Quiet true;
      :error "an interrupted update was finished";
    }
    :if (([ $TsLook $Active ]->"state") = "running") do={
      $TsRecord $Digest $Bad 0 "" "";
      :set Recorded $Digest;
    }
  }

  # 2. is there news?
  :local FromFile ([ :len $TsLocalFile ] > 0 && [ :len $TsLocalDigest ] > 0);
  :if ([ :len $Active ] > 0 && $TsForce != true && !$FromFile && [ :typeof $TsChecked ] = "time") do={
    :if (($Uptime - $TsChecked) < $TsCheckEvery) do={ :set Quiet true; :error "not yet due"; }
  }
  # if anything goes wrong from here on, the next try is an hour away
  :set TsChecked ($Uptime - $TsCheckEvery + 1h);
  :local Want $TsLocalDigest;
  :local Source ("file=\"" . $TsLocalFile . "\"");
  :set TsLocalFile;
  :set TsLocalDigest;
  :if (!$FromFile) do={
    :if ([ :len $TsTag ] = 0) do={
      # no tag: updates come by hand only
      :set TsChecked $Uptime;
      :set Quiet true;
      :error "no tag is followed";
    }
    :if (($Mode->"fetch") = false) do={ :error "device-mode forbids fetch"; }
    :if ([ :tonum [ :pick [ /system/clock/get date ] 0 4 ] ] < 2026) do={
      # certificates cannot be checked yet; the next run will
      :set TsChecked;
      :set Quiet true;
      :error "the clock is not set";
    }
    :set Want [ $TsRemote ];
    :set Source ("remote-image=\"" . $TsImage . "@" . $Want . "\"");
  }
  :if ($Want = $Bad && $TsForce != true && !$FromFile) do={
    :if ([ :len $Active ] > 0 || [ :len $Recorded ] = 0) do={
      $TsTidy $Active $Others;
      :set TsChecked $Uptime;
      :set Quiet true;
      :error "the registry still has the image that failed";
    }
    :set Want $Recorded;
    :set Source ("remote-image=\"" . $TsImage . "@" . $Want . "\"");
  }

  # 3. nothing on the router, or nothing that could run: a first install
  :if ([ :len $Active ] = 0) do={
    :foreach Id in=$Others do={ $TsDrop $Id; }
    :local Id [ $TsPull "a" $Source $Want "yes" ];
    $TsRun $Id;
    :local Wrong [ $TsHealth $Id false ];
    :if ($Wrong != "") do={ :error ("the container was installed, but " . $Wrong); }
    $TsRecord $Want $Bad 0 "" "";
    $TsSay info ("installed " . [ :pick $Want 0 19 ]);
    :set TsChecked $Uptime;
    :set Quiet true;
    :error "installed";
  }

  # 4. no news: only tidy up
  :if ($Want = $Digest) do={
    $TsTidy $Active $Others;
    :set TsChecked $Uptime;
    :set TsForce false;
    :set Quiet true;
    :error "no news";
  }

  # 5. how often was this one tried? A router that restarts in every trial must not try for ever
  :local Tries 1;
  :if ([ $TsField $Note "trial" ] = $Want) do={
    :set Tries ([ :tonum [ $TsField $Note "tries" ] ] + 1);
  }
  :if ($Tries > 3) do={
    $TsRecord $Recorded $Want 0 "" "";
    :foreach Id in=$Others do={ $TsDrop $Id; }
    :error "three tries to update did not come to an end; waiting for the next release";
  }

  :local Letter [ $TsOther $Active ];

  # 6. the new image beside the running one; what an interrupted run has pulled is used
  :local New "";
  :foreach Id in=$Others do={
    :local Now [ $TsLook $Id ];
    :if (($Now->"digest") = $Want && ($Now->"state") = "busy") do={
      $TsUntil $Id "stopped" $TsPullSeconds;
      :set Now [ $TsLook $Id ];
    }
    :if (($Now->"digest") = $Want && ($Now->"state") = "stopped" && ($Now->"image")) do={
      :set New $Id;
    } else={
      $TsDrop $Id;
    }
  }
  # the new one must be connected if the old one is; right after a boot that takes a while to show
  :local Need ([ $TsField $Note "need" ] = "true" && [ $TsField $Note "trial" ] = $Want);
  :for I from=1 to=12 do={
    :if (!$Need) do={
      :set Need [ $TsLinked $Active ];
      :if (!$Need) do={ :delay 5s; }
    }
  }
  :if ([ :len $New ] = 0 && [ $TsFree ] < $TsNeed) do={
    :if ($TsInPlace != true) do={
      :set Quiet ($TsTold = $Want);
      :set TsTold $Want;
      :set TsChecked $Uptime;
      :error ("not enough space for two images: " . [ $TsFree ] . " bytes free, " . $TsNeed . " needed");
    }
    # 6b. allowed by the settings: in the place of the old one
    :local Back ("remote-image=\"" . $TsImage . "@" . $Recorded . "\"");
    :if ([ $TsVersion ] >= 72400 && [ :len $TsRollbackFile ] > 0) do={
      :local Save [ :parse ("/container/save " . $Active . " file=\"" . $TsRollbackFile . "\"") ];
      $Save;
      :set Back ("file=\"" . $TsRollbackFile . "\"");
    }
    $TsRecord $Recorded $Bad $Tries $Want $Need;
    $TsDrop $Active;
    :local Wrong "";
    :local Judged false;
    :local Id "";
    :onerror Err in={
      :set Id [ $TsPull $Letter $Source $Want "yes" ];
      $TsRun $Id;
      :set Wrong [ $TsHealth $Id $Need ];
      :set Judged true;
    } do={
      :set Wrong $Err;
    }
    :if ($Wrong = "") do={
      $TsRecord $Want $Bad 0 "" "";
      $TsSay info ("updated in place to " . [ :pick $Want 0 19 ]);
    } else={
      :if ($Judged) do={ $TsRecord $Recorded $Want 0 "" ""; }
      :foreach Other in=[ /container/find where comment~"^mikrotik-tailscale " ] do={ $TsDrop $Other; }
      :set Id [ $TsPull $Letter $Back $Recorded "yes" ];
      $TsRun $Id;
      $TsAlarm ("update in place failed (" . $Wrong . "), the old image is back");
    }
    :set TsChecked $Uptime;
    :set Quiet true;
    :error "updated in place";
  }
  :if ([ :len $New ] = 0) do={
    :set New [ $TsPull $Letter $Source $Want "no" ];
    # a power cut soon after the pull could lose the image: let the flash settle
    :delay 60s;
  }

  # 7. the switch
  $TsRecord $Recorded $Bad $Tries $Want $Need;
  :local Wrong [ $TsTrial $New $Active $Need $Recorded $Bad ];
  :set TsForce false;
  :if ($Wrong = "") do={ :set TsChecked $Uptime; }
  :set TsBusy;
} do={
  :if ($Mine) do={ :set TsBusy; }
  :if (!$Quiet) do={
    :onerror Worse in={
      $TsSay error $Err;
      :if ($Mine) do={ $TsHeal $Recorded; }
    } do={
      :log error ("tailscale: " . $Worse);
    }
  }
}
}
