:local scale {"a"=("C",33,65,131) ;
"w"=("C#",35,69,139) ;
  "s"={"first"=1 ; "second"={1;2;3}};
}
:local played [:toarray ""]
:set $played ($played,{{0;250ms}})
:set played ($played,{{440;1s;"A4"}})
:local item ($scale->"a"->(1 + 1))
:local deep ($scale->"s"->"second"->0)
:foreach key,value in=$scale do={ :put "$key: $[:len $value]" }
:foreach pair in=$played do={
    :if ([:typeof ($pair->0)]="num" && [:typeof ($pair->1)]~"(time|num)") do={ :put ($pair->1) }
}
:if ([ /system/resource/get ]->"board-name" = "x86" || ([ /system/resource/get ]->"cpu-count") > 1) do={ :nothing }
:set ($scale->"a"); :set ($scale->"new"->"x") 5
:local empty ({}); :local none []
