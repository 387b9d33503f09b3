//! Mathematics and bits.

use super::{Body, Function, Group, each, number};
use crate::cell::Cell;
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::{Args, Run};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "BitAnd",
        group: Group::Math,
        parameters: &[number("value"), number("mask")],
        summary: "The bits that both numbers have, of 64.",
        examples: &[
            ("BitAnd(&HF, &HF7)", "7"),
            ("BitAnd(-2147483646, -2147483648) <> 0", "true"),
            ("BitAnd(514, 2)", "2"),
        ],
        returns: each(Kinds::NUMBER),
        body: Body::Each(|_, args| bits(args, |a, b| a & b)),
    },
    Function {
        name: "BitOr",
        group: Group::Math,
        parameters: &[number("value"), number("mask")],
        summary: "The bits that either number has, of 64.",
        examples: &[("BitOr(512, 2)", "514")],
        returns: each(Kinds::NUMBER),
        body: Body::Each(|_, args| bits(args, |a, b| a | b)),
    },
    Function {
        name: "IsBitSet",
        group: Group::Math,
        parameters: &[number("value"), number("flag")],
        summary: "Whether a bit of `flag` is set in `value`. The flag is the weight of the bit, not its place.",
        examples: &[("IsBitSet(&HF, 4)", "true"), ("IsBitSet(512, 2)", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::Each(|_, mut args| match (args.number(0), args.number(1)) {
            (Some(value), Some(flag)) => Ok((value & flag != 0).into()),
            _ => Ok(Cell::Null),
        }),
    },
    Function {
        name: "RandomNum",
        group: Group::Math,
        parameters: &[number("start"), number("end")],
        summary: "A random number from `start` to `end`, both included. Only in flows that are applied once.",
        examples: &[("RandomNum(7, 7)", "7"), ("RandomNum(2, 1)", "error: must not be greater")],
        returns: each(Kinds::NUMBER),
        body: Body::Each(random),
    },
];

fn bits<'a>(mut args: Args<'_, 'a>, combine: impl Fn(i64, i64) -> i64) -> Result<Cell<'a>, Fault> {
    match (args.number(0), args.number(1)) {
        (Some(a), Some(b)) => Ok(combine(a, b).into()),
        _ => Ok(Cell::Null),
    }
}

fn random<'a>(run: &mut Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let (Some(start), Some(end)) = (args.number(0), args.number(1)) else { return Ok(Cell::Null) };
    if start > end {
        return Err(Fault::value("the start of `RandomNum` must not be greater than its end"));
    }
    let count = i128::from(end) - i128::from(start) + 1;
    // 64 random bits scaled to the range: the deviation from uniform is below count / 2^64.
    let offset = (i128::from(run.context.random()) * count) >> 64;
    let number = i128::from(start) + offset;
    i64::try_from(number).map(Cell::from).map_err(|_| Fault::value("the result does not fit into 64 bits"))
}
