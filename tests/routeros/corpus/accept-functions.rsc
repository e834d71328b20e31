#!rsc by RouterOS
# functions live in globals; nothing of the caller is visible inside
:global Either;
:global Report;
:global Limits ({ });

:set Either do={
  :if ([ :len [ :tostr $1 ] ] > 0) do={ :return $1; }
  :return $2;
}

:set Report do={ :onerror Err {
  :local Level [ :tostr $1 ];
  :local Text  [ :tostr $2 ];
  :global Either;
  :local Paint do={
    :local Colour { info=97; warning=93 };
    :return ("\1B[" . $Colour->$1 . "m" . $1 . "\1B[0m");
  }
  :if ($Level ~ ("^(info|debug)\$")) do={ :log info ($0 . ": " . $Text); } else={
    :log warning [ $Either $Text "empty" ];
  }
  :put ([ $Paint $Level ] . ": " . $Text);
} do={
  :return false;
} }

:if ([ :typeof ($Limits->"low") ] = "nothing") do={
  :set ($Limits->"low") 8388608;
}
$Report info \
    ("free space is " . [ /system/resource/get free-hdd-space ] . \
     " and the limit is " . $Limits->"low");
:local Answer [ $Either "" [ $Either "" "third" ] ];
