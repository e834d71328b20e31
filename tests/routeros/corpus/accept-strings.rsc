:local wait 250ms
:local count 7
:put "\t\1B[1;34m$[:pick $wait 7 16]s\1B[0m $($count + 1)/8 \"quoted\" \$literal \? \\ \_end"
:local padded "0$count"
:set padded "$padded$[:tostr [:len "four"]]"
:local url ("https://registry.example/token\?scope=repository:a/b:pull" . "&service=" . $padded)
:local long "one line \
    and its continuation"
:if ("$padded" = "074") do={ :put $long } else={ :put "$[:len $long] bytes" }
:log info message="named"; /log warn "menu form: $[:tostr $wait]"
:put ("time " . [:pick [/system/clock/get time] 0 5]);
