module linetables

go 1.26
