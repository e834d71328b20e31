:put "\e2\9c"
