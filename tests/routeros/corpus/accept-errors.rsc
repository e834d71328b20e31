:local ok false;
:onerror e in={
  :do {
    /tool/fetch url="https://example.com" output=none
  } on-error={ :error "again" }
  :set ok true
} do={ :log error "failed: $e" }
:onerror e,attr in={ /tool/fetch url="https://example.com" } do={ :put ($attr->"code") }
:onerror Err { [[ :parse "/container/add name=x" ]]; } do={ }
:local new [:parse (":return [/container/get [find name=x] restart-policy]")];
:retry command={ :if (!$ok) do={ :error "not ready" } } delay=500ms max=50 on-error={ :put "gave up" }
:do { :set ok (!$ok) } while=($ok = false)
:if ([:onerror x in={ :resolve "a.example" } do={}]) do={ :quit }
:execute ":log info done" ; :execute script=":put 1" as-string
