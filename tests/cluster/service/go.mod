module testservice

go 1.21
