//! The promises that every format and codec keeps, together: as an agent writes objects and a server reads them.

mod conformance;
