//! One scrape: a snapshot of every number, written in the table's order.
