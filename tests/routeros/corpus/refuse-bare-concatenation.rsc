:put "a" . "b"
