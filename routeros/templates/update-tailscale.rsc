#!rsc by RouterOS
# RouterOS script: update-tailscale
# mikrotik-tailscale {{RELEASE}}; rendered for RouterOS {{RENDERED}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
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

#@ include common
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

#@ if universal
  :if ([ $TsVersion ] < 71900) do={ :error "RouterOS {{MINIMUM}} or newer is needed"; }
#@ end
#@ if fixed
  :if ([ $TsVersion ] < {{FROM}} || [ $TsVersion ] > {{TO}}) do={
    :error "this script was rendered for RouterOS {{RENDERED}}; install the one for this version";
  }
#@ end
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
    :if ([ :tonum [ :pick [ /system/clock/get date ] 0 4 ] ] < {{YEAR}}) do={
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
#@ if universal
    :if ([ $TsVersion ] >= 72400 && [ :len $TsRollbackFile ] > 0) do={
      :local Save [ :parse ("/container/save " . $Active . " file=\"" . $TsRollbackFile . "\"") ];
      $Save;
      :set Back ("file=\"" . $TsRollbackFile . "\"");
    }
#@ end
#@ if 7.24
    :if ([ :len $TsRollbackFile ] > 0) do={
      /container/save $Active file=$TsRollbackFile;
      :set Back ("file=\"" . $TsRollbackFile . "\"");
    }
#@ end
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
