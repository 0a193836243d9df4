use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CostArgs,
}

fn load(flags: &[&str]) -> Load {
    let line = Line::parse_from([&["cost"], flags].concat());
    line.args.load(&Prices::built_in()).unwrap()
}

fn near(value: f64, wanted: f64, part: f64) -> bool {
    (value - wanted).abs() <= wanted * part
}

#[test]
fn the_comparison_that_made_people_leave_firehose_is_reproduced() {
    let (load, prices) =
        (load(&["--messages-per-second", "1200", "--message-bytes", "4096"]), Prices::built_in());
    assert!(near(bill::firehose_by_hand(&load, &prices), 450.0, 0.005), "about $450, in round figures");
    assert!(near(bill::firehose(&load, &prices).total(), 450.0, 0.05), "about $450, as AWS counts");
    assert!(near(bill::flume(&load, &prices).total(), 80.0, 0.05), "about $80");
    let ours = bill::sluicegate(&load, &prices).total();
    assert!(ours < bill::flume(&load, &prices).total(), "{ours}");
}

#[test]
fn firehose_counts_each_message_in_units_of_five_kilobytes() {
    let prices = Prices::built_in();
    let of = |bytes: &str| bill::firehose(&load(&["--message-bytes", bytes]), &prices).total();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(of("1"), of("5120")) && near(of("0"), of("1")));
    assert!(near(of("5121"), 2.0 * of("5120")) && near(of("12288"), 3.0 * of("5120")));
}

#[test]
fn the_minimal_network_costs_at_most_15_dollars_a_month_without_events() {
    let prices = Prices::built_in();
    let fixed = bill::sluicegate(&load(&[]), &prices).fixed_network();
    assert!(fixed > 0.0 && fixed <= 15.0, "{fixed}");
    let production = bill::sluicegate(&load(&["--network", "production"]), &prices).fixed_network();
    assert!(production > fixed, "{production}");
}

#[test]
fn objects_are_finished_by_size_or_by_age_and_never_outnumber_messages() {
    assert!(near(load(&["--object-mib", "64"]).objects(), 192_480.0, 0.001));
    assert!(near(load(&["--messages-per-second", "1", "--roll-age-s", "60"]).objects(), 43_800.0, 1e-9));
    assert!(near(load(&["--messages-per-second", "0.001", "--roll-age-s", "60"]).objects(), 2_628.0, 1e-9));
    assert!(near(load(&["--compression", "4"]).objects(), 192_480.0 / 4.0, 0.001));
}

#[test]
fn what_cannot_be_is_refused_with_its_flag() {
    let refused = |flags: &[&str]| {
        Line::parse_from([&["cost"], flags].concat()).args.load(&Prices::built_in()).unwrap_err()
    };
    assert!(refused(&["--messages-per-second", "0"]).starts_with("--messages-per-second: 0 is not"));
    assert!(refused(&["--compression", "NaN"]).starts_with("--compression: NaN"));
    assert!(refused(&["--stored-days=-1"]).starts_with("--stored-days: -1"));
    assert!(refused(&["--agents", "0"]).starts_with("--agents"));
    assert!(refused(&["--instance", "x.large"]).contains("there is m7g.large"));
}

#[test]
fn the_documentation_shows_the_prices_and_the_bill_that_the_program_computes() {
    let page = include_str!("../../../../docs/cost.md");
    let prices = Prices::built_in();
    assert!(page.contains(&prices.markdown()), "docs/cost.md shows other prices:\n{}", prices.markdown());
    for flags in [
        &[][..],
        &["--network", "production", "--agents", "3", "--instance", "m7g.large", "--volume-gb", "200"],
    ] {
        let text = report(&load(flags), &prices);
        assert!(page.contains(&text), "docs/cost.md shows another bill:\n{text}");
    }
}
