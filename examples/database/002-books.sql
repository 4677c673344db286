INSERT INTO book (title, year) VALUES ('Elements', -300);
INSERT INTO book (title, year) VALUES ('Almagest', 150), ('Canon of Medicine', 1025);
