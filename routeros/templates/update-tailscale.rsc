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
:global TsBusy; :global TsChecked; :global TsForce; :global TsTold;
:global TsImage; :global TsTag; :global TsTokenUrl; :global TsDisk; :global TsNeed;
:global TsInPlace; :global TsRollbackFile; :global TsCheckEvery; :global TsPullSeconds;
# an image from a file on the router instead of the registry, once: set by "invoke deploy"
:global TsLocalFile; :global TsLocalDigest; :global TsFails; :global TsRetry;

#@ include head
:global TsRecord; :global TsMine; :global TsLook; :global TsAlive; :global TsUntil; :global TsRun;
:global TsDrop; :global TsPull; :global TsTry; :global TsLinked; :global TsHealth; :global TsFree;
:global TsNeeded; :global TsHeal; :global TsOther; :global TsTidy; :global TsTrial; :global TsSave;
:global TsRemote; :global TsGet; :global TsDigest; :global TsMounts; :global TsStrangers;
:global TsLibrary; :global TsRead; :global TsUser; :global TsSick; :global TsStop; :global TsSickAt;

# ask a server: address, header fields, "url" or "parts", http-method, output -> the answer.
# Others saw 7.21.2 refuse an address with "&": given in parts it is no address that is taken apart
:set TsGet do={
  :global TsCertificate;
  :local Check "yes-without-crl";
  :if ([ :len $TsCertificate ] > 0) do={ :set Check $TsCertificate; }
  :if ($3 = "url") do={
    :return [ /tool/fetch url=$1 http-method=$4 http-header-field=$2 check-certificate=$Check \
      output=$5 as-value ];
  }
  :local Rest [ :pick $1 8 [ :len $1 ] ];
  :local Slash [ :find $Rest "/" ];
  :local Host [ :pick $Rest 0 $Slash ];
  :local Path [ :pick $Rest ($Slash + 1) [ :len $Rest ] ];
  :return [ /tool/fetch mode=https address=$Host host=$Host src-path=$Path http-method=$4 \
    http-header-field=$2 check-certificate=$Check output=$5 as-value ];
}

# the digest that the tag points to, with a token from an address or none: address, how -> digest
:set TsDigest do={
  :global TsImage; :global TsTag; :global TsGet;
  :local Slash [ :find $TsImage "/" ];
  :local Host [ :pick $TsImage 0 $Slash ];
  :local Path [ :pick $TsImage ($Slash + 1) [ :len $TsImage ] ];
  :if ($Host = "docker.io") do={ :set Host "registry-1.docker.io"; }
  :local Fields ("Accept: application/vnd.oci.image.index.v1+json," . \
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json");
  :if ($1 != "none") do={
    :local Answer [ $TsGet $1 "Accept: application/json" $2 "get" "user" ];
    # a token is text even where it looks like a number or an address
    :local Json [ :deserialize ($Answer->"data") from=json options=json.no-string-conversion ];
    :local Token ($Json->"token");
    :if ([ :len $Token ] = 0) do={ :set Token ($Json->"access_token"); }
    :if ([ :len $Token ] = 0) do={ :error "the registry gave no token"; }
    :set Fields ("Authorization: Bearer " . $Token . "," . $Fields);
  }
  :local Url ("https://" . $Host . "/v2/" . $Path . "/manifests/" . $TsTag);
  # a HEAD has no body: the only digest in the answer is that of the manifest
  :local Text [ :tostr [ $TsGet $Url $Fields "url" "head" "user-with-headers" ] ];
  :local At [ :find $Text "sha256:" ];
  :if ([ :typeof $At ] != "num") do={ :error "the registry gave no digest"; }
  :local Digest [ :pick $Text $At ($At + 71) ];
  :if (!($Digest ~ "^sha256:[0-9a-f]{64}\$")) do={ :error "the registry gave no whole digest"; }
  :return $Digest;
}

# the digest that the tag points to now; raises an error if the registry does not say
:set TsRemote do={
  :global TsImage; :global TsTokenUrl; :global TsDigest;
  :if ($TsTokenUrl = "none") do={ :return [ $TsDigest "none" "url" ]; }
  :local Slash [ :find $TsImage "/" ];
  :local Host [ :pick $TsImage 0 $Slash ];
  :local Scope ("scope=repository:" . [ :pick $TsImage ($Slash + 1) [ :len $TsImage ] ] . ":pull");
  :local Base ("https://" . $Host . "/v2/token\?");
  :local Service "service=container_registry&";
  :if ($Host = "ghcr.io") do={
    :set Base "https://ghcr.io/token\?";
    :set Service "service=ghcr.io&";
  }
  :if ($Host = "docker.io") do={
    :set Base "https://auth.docker.io/token\?";
    :set Service "service=registry.docker.io&";
  }
  # most registries need no "&"; for the others both ways to give one
  :local Long ($Base . $Service . $Scope);
  :local Urls ({ ($Base . $Scope); $Long; $Long });
  :local Ways ({ "url"; "url"; "parts" });
  :if ([ :len $TsTokenUrl ] > 0) do={
    :set Urls ({ $TsTokenUrl; $TsTokenUrl });
    :set Ways ({ "url"; "parts" });
  }
  :local Digest "";
  :local Last "";
  :foreach Number,Way in=$Ways do={
    :if ([ :len $Digest ] = 0) do={
      :onerror Err in={ :set Digest [ $TsDigest ($Urls->$Number) $Way ]; } do={ :set Last $Err; }
    }
  }
  :if ([ :len $Digest ] = 0) do={ :error $Last; }
  :return $Digest;
}

# -- the run ------------------------------------------------------------------------------------
:local Mine false;
:local Quiet false;
:local Why "";
:local Recorded "";
:local Uptime [ /system/resource/get uptime ];
:onerror Err in={
  :if ([ :typeof $TsBusy ] = "time") do={
    :local Jobs [ :len [ /system/script/job/find where script="update-tailscale" ] ];
    :if (($Uptime - $TsBusy) < 2h || $Jobs > 1) do={
      :set Quiet true;
      :error "another run is still busy";
    }
  }
  :set TsBusy $Uptime;
  :set Mine true;

  # what makes this router unfit is said before anything is read that it would not understand
  $TsLoad "settings-tailscale";
  :local Unfit [ $TsReady ];
  :if ([ :len $Unfit ] > 0) do={ :error $Unfit; }
  $TsLoad "library-tailscale";
  :if ($TsLibrary != "{{RELEASE}}") do={
    :error "the scripts are of two releases: bring them up to date once more";
  }
  :if (!($TsImage ~ "^[^/]+\\.[^/]+/.")) do={ :error "TsImage must begin with the registry's host"; }
  :if ([ :len $TsDisk ] > 0) do={
    # a missing disk would silently become a folder of the internal flash
    :if ([ :len [ /disk/find where slot=$TsDisk ] ] = 0) do={
      :error ("the disk " . $TsDisk . " is not there");
    }
  }

  :local Note "";
  :local Found [ /system/script/find where name="tailscale-state" ];
  :if ([ :len $Found ] > 0) do={ :set Note [ /system/script/get $Found comment ]; }
  :set Recorded [ $TsField $Note "digest" ];
  :local Bad [ $TsField $Note "bad" ];

  # 1. one container runs, whatever an earlier run, a crash or a power cut has left
  :local Active [ $TsHeal $Recorded ];
  :local Alive false;
  :local Digest "";
  :local Others ({});
  :foreach Id in=[ $TsMine ] do={
    :if ($Id = $Active) do={
      :local Now [ $TsLook $Id ];
      :set Digest ($Now->"digest");
      :set Alive (($Now->"state") = "running");
    } else={
      :set Others ($Others, $Id);
    }
  }
  :if ($Alive && [ :len $Digest ] > 0 && $Digest != $Recorded) do={
    :local Old "";
    :foreach Id in=$Others do={ :if (([ $TsLook $Id ]->"image")) do={ :set Old $Id; } }
    :if ([ :len $Old ] > 0) do={
      # a trial that was cut short: finish it
      :local Wrong [ $TsTrial $Active $Old ([ $TsField $Note "need" ] = "true") $Recorded $Bad ];
      :set Quiet true;
      :error "an interrupted update was finished";
    }
    $TsRecord $Digest $Bad 0 "" "";
    :set Recorded $Digest;
  }

  # one that runs and does not answer: once an hour it is started anew
  :local Sick false;
  :if ($Alive) do={ :set Sick [ $TsSick $Active ]; }
  :if ($Sick && [ :typeof $TsSickAt ] = "time") do={ :set Sick (($Uptime - $TsSickAt) >= 1h); }
  :if ($Sick) do={
    :set TsSickAt $Uptime;
    :if ([ $TsStop $Active ] = false) do={ :error "the container is not healthy and does not stop"; }
    :set Alive [ $TsRun $Active ];
    $TsAlarm "the container was not healthy and has been started anew" "sick";
  }

  # 2. is there news?
  :local FromFile ([ :len $TsLocalFile ] > 0 && [ :len $TsLocalDigest ] > 0);
  :if ($TsForce != true && !$FromFile) do={
    :if ($Alive && [ :typeof $TsChecked ] = "time") do={
      :if (($Uptime - $TsChecked) < $TsCheckEvery) do={ :set Quiet true; :error "not yet due"; }
    }
    :if (!$Alive && [ :typeof $TsRetry ] = "time") do={
      :if ($Uptime < $TsRetry) do={
        :set Quiet true;
        :error ("the next try is at uptime " . $TsRetry);
      }
    }
  }
  # if anything goes wrong from here on, the next try is later: soon where nothing runs, and every
  # time twice as late, a day at most
  :if ([ :typeof $TsFails ] != "num") do={ :set TsFails 0; }
  :local Wait 1h;
  :if (!$Alive) do={ :set Wait 15m; }
  :local Turn 0;
  :while ($Turn < $TsFails && $Wait < 1d) do={
    :set Wait ($Wait + $Wait);
    :set Turn ($Turn + 1);
  }
  :if ($Wait > 1d) do={ :set Wait 1d; }
  :set TsFails ($TsFails + 1);
  :set TsRetry ($Uptime + $Wait);
  :set TsChecked ($Uptime - $TsCheckEvery + $Wait);
  :local Want $TsLocalDigest;
  :local Kind "file";
  :local Source $TsLocalFile;
  :set TsLocalFile;
  :set TsLocalDigest;
  :if (!$FromFile) do={
    :local Known $Recorded;
    :if ([ :len $Known ] = 0) do={ :set Known $Digest; }
    :set Kind "remote-image";
    :if ([ :len $TsTag ] = 0) do={
      :set Want $Known;
      :if ($Alive) do={
        # no tag: updates come by hand only
        :set TsChecked $Uptime;
        :set TsFails 0;
        :set Quiet true;
        :error "no tag is followed";
      }
      :if ([ :len $Known ] = 0) do={ :error "no tag is followed, and no image was ever recorded"; }
    } else={
      :if (([ /system/device-mode/get ]->"fetch") = false) do={ :error "device-mode forbids fetch"; }
      :if ([ :tonum [ :pick [ /system/clock/get date ] 0 4 ] ] < {{YEAR}}) do={
        # certificates cannot be checked yet; the next run will
        :set TsChecked;
        :set TsRetry;
        :set TsFails 0;
        :set Quiet true;
        :error "the clock is not set";
      }
      :onerror Err in={ :set Want [ $TsRemote ]; } do={
        :if ($Alive || [ :len $Known ] = 0) do={ :error $Err; }
        # nothing runs: what was here last can perhaps be pulled all the same
        $TsSay warning $Err;
        :set Want $Known;
      }
    }
    :if ($Want = $Bad && $TsForce != true) do={
      :if ($Alive || [ :len $Known ] = 0) do={
        $TsTidy $Active $Others;
        :set TsChecked $Uptime;
        :set TsFails 0;
        :set Quiet true;
        :error "the registry still has the image that failed";
      }
      :set Want $Known;
    }
    :set Source ($TsImage . "@" . $Want);
  }

  # 3. nothing on the router, or nothing that could run: a first install
  :if ([ :len $Active ] = 0) do={
    # after a take-over that failed, or by hand: two daemons on one state would spoil it
    :local Ours "";
    :foreach Key,Row in=[ $TsMounts ] do={
      :if (($Row->"list") = "tailscale" && ($Row->"dst") = "/var/lib/tailscale") do={
        :set Ours ($Row->"src");
      }
    }
    :foreach Key,Row in=[ $TsStrangers ] do={
      :if (($Row->"src") = $Ours && ($Row->"state") != "stopped") do={
        :error ("container " . ($Row->"name") . " runs on this login; the installer takes it over");
      }
    }
    :foreach Id in=$Others do={ $TsDrop $Id; }
    :local Id [ $TsPull "a" $Kind $Source $Want "yes" ];
    $TsRun $Id;
    :local Wrong [ $TsHealth $Id false ];
    :if ($Wrong != "") do={ :error ("the container was installed, but " . $Wrong); }
    $TsRecord $Want $Bad 0 "" "";
    $TsSay info ("installed " . [ :pick $Want 0 19 ]);
    :set TsChecked $Uptime;
    :set TsFails 0;
    :set Quiet true;
    :error "installed";
  }

  # 4. no news: only tidy up
  :if ($Want = $Digest && $Alive) do={
    $TsTidy $Active $Others;
    :set TsChecked $Uptime;
    :set TsFails 0;
    :set TsForce false;
    :set Quiet true;
    :error "no news";
  }

  # 5. how often was this one tried? A router that restarts in every trial must not try for ever
  :local Tries 1;
  :if ([ $TsField $Note "trial" ] = $Want) do={
    :set Tries ([ :tonum [ $TsField $Note "tries" ] ] + 1);
  }
  :if ($Tries > 3 && $Alive) do={
    $TsRecord $Recorded $Want 0 "" "";
    :foreach Id in=$Others do={ $TsDrop $Id; }
    :error "three tries to update did not come to an end; waiting for the next release";
  }

  :local Letter [ $TsOther $Active ];
  # the old one goes with its folder, and with all that somebody else keeps in it
  :local Root ([ $TsRead $Active ]->"root-dir");
  :local User [ $TsUser $Root ({ $Active }) ];
  :if ([ :len $User ] > 0) do={
    :error ("no update: the folder " . $Root . " is that of the " . $User . " too");
  }

  # 6. the new image beside the old one; what an interrupted run has pulled is used
  :local New "";
  :foreach Id in=$Others do={
    :local Now [ $TsLook $Id ];
    :if (($Now->"digest") = $Want && ($Now->"state") = "busy") do={
      $TsUntil $Id "stopped" $TsPullSeconds;
      :set Now [ $TsLook $Id ];
    }
    :if ($Alive && ($Now->"digest") = $Want && ($Now->"state") = "stopped" && ($Now->"image")) do={
      :set New $Id;
    } else={
      $TsDrop $Id;
    }
  }
  # the new one must be connected if the old one is; right after a boot that takes a while to show
  :local Need ([ $TsField $Note "need" ] = "true" && [ $TsField $Note "trial" ] = $Want);
  :for I from=1 to=12 do={
    :if ($Alive && !$Need) do={
      :set Need [ $TsLinked $Active ];
      :if (!$Need) do={ :delay 5s; }
    }
  }
  :if ([ :len $New ] = 0 && [ $TsFree ] < [ $TsNeeded ]) do={
    :local Short ("not enough space for two images: " . [ $TsFree ] . " bytes free, " . \
      [ $TsNeeded ] . " needed");
    :if ($TsInPlace != true) do={
      :set Quiet ($TsTold = $Want);
      :set TsTold $Want;
      :set TsChecked $Uptime;
      :error $Short;
    }
    # 6b. allowed by the settings: in the place of the old one, if there is a way back and an add
    # can work at all
    :local Known $Recorded;
    :if ([ :len $Known ] = 0) do={ :set Known $Digest; }
    :if ([ :len $Known ] = 0) do={ :error ($Short . ", and no way back is known"); }
    :local Wrong [ $TsTry $Letter ];
    :if ([ :len $Wrong ] > 0) do={ :error ("no update in place: a new container is refused: " . $Wrong); }
    :local BackKind "remote-image";
    :local Back ($TsImage . "@" . $Known);
    :if ([ :len $TsRollbackFile ] > 0) do={
      :if ([ $TsSave $Active $TsRollbackFile ]) do={
        :set BackKind "file";
        :set Back $TsRollbackFile;
      }
    }
    $TsRecord $Recorded $Bad $Tries $Want $Need;
    $TsDrop $Active;
    :local Judged false;
    :local Id "";
    :onerror Err in={
      :set Id [ $TsPull $Letter $Kind $Source $Want "yes" ];
      $TsRun $Id;
      :set Wrong [ $TsHealth $Id $Need ];
      :set Judged true;
    } do={
      :set Wrong $Err;
    }
    :if ($Wrong = "") do={
      $TsRecord $Want $Bad 0 "" "";
      :set TsFails 0;
      $TsSay info ("updated in place to " . [ :pick $Want 0 19 ]);
    } else={
      :if ($Judged) do={ $TsRecord $Recorded $Want 0 "" ""; }
      :foreach Other in=[ $TsMine ] do={ $TsDrop $Other; }
      :set Id [ $TsPull $Letter $BackKind $Back $Known "yes" ];
      $TsRun $Id;
      $TsAlarm ("update in place failed (" . $Wrong . "), the old image is back");
    }
    :set TsChecked $Uptime;
    :set Quiet true;
    :error "updated in place";
  }
  :if ([ :len $New ] = 0) do={
    :set New [ $TsPull $Letter $Kind $Source $Want "no" ];
    # a power cut soon after the pull could lose the image: let the flash settle
    :delay 60s;
  }

  # 7. the switch
  $TsRecord $Recorded $Bad $Tries $Want $Need;
  :local Wrong [ $TsTrial $New $Active $Need $Recorded $Bad ];
  :set TsForce false;
  :if ($Wrong = "") do={
    :set TsChecked $Uptime;
    :set TsFails 0;
  }
} do={ :set Why $Err; }

# whatever path led here: what went wrong is said, and if nothing runs somebody is called
:if ($Mine && !$Quiet && [ :len $Why ] > 0) do={
  :onerror Worse in={
    $TsSay error $Why;
    $TsHeal $Recorded;
  } do={ :log error ("tailscale: " . $Worse); }
}
:local Late $Mine;
:if (!$Mine && [ :typeof $TsBusy ] = "time") do={ :set Late (($Uptime - $TsBusy) > 1h); }
:if ($Late) do={
  :local Runs false;
  :onerror Worse in={ :set Runs ([ $TsAlive ] = true); } do={ :set Why ($Why . "; " . $Worse); }
  :onerror Worse in={
    :if (!$Runs) do={ $TsAlarm ("no container runs: " . $Why) "none"; }
  } do={ :log error ("tailscale: " . $Worse); }
}
:if ($Mine) do={ :set TsBusy; }
}
