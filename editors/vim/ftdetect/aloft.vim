autocmd BufRead,BufNewFile *.sf setfiletype aloft
