:local my_var 5
