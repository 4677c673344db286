-- A change of tables cannot be taken back by the server: one for each file.
CREATE TABLE book (
  id INT PRIMARY KEY AUTO_INCREMENT,
  title VARCHAR(200) NOT NULL,
  year INT NOT NULL
);
