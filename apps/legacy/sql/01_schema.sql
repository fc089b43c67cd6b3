-- HOLM & SONS order system (2004): the tables of the old database.
-- Fictional. Plain SQL that MySQL, MariaDB and SQLite all read unchanged.
-- Load this file first, then 02_data.sql.
-- As in the old system: primary keys only, no foreign keys, everything else may be NULL.

-- cust_stat: A active, I inactive, X closed
CREATE TABLE customers (
  customer_id INTEGER NOT NULL,
  customer_name VARCHAR(120),
  customer_email VARCHAR(254),
  created_date DATE,
  cust_stat VARCHAR(1),
  city VARCHAR(80),
  ctry_cd VARCHAR(2),
  PRIMARY KEY (customer_id)
);

-- ord_stat: NW new, SH shipped, IV invoiced, CN cancelled
CREATE TABLE ord_hdr (
  ord_no INTEGER NOT NULL,
  customer_id INTEGER,
  ord_dt DATE,
  ord_stat VARCHAR(2),
  ord_rem VARCHAR(200),
  PRIMARY KEY (ord_no)
);

CREATE TABLE ord_line (
  ord_no INTEGER NOT NULL,
  line_no INTEGER NOT NULL,
  item_cd VARCHAR(20),
  item_desc VARCHAR(120),
  qty INTEGER,
  unit_prc DECIMAL(10,2),
  PRIMARY KEY (ord_no, line_no)
);

CREATE INDEX ix_customers_email ON customers (customer_email);
CREATE INDEX ix_ord_hdr_customer ON ord_hdr (customer_id);
