//! The table itself: one row a metric, with its name, its meaning and where its number is read.
