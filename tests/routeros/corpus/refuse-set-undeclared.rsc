:put 1
:set never "x"
