//! Sums of products in the notation of Einstein.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, MatMul, Reduce, ReduceFn, Squeeze, Unsqueeze};
use depthwise_tensor::MAX_RANK;

pub(super) const ROWS: &[Row] = &[row("Einsum", 12, einsum)];

/// An axis: a letter, or the place of an axis of `...`, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Label {
    Letter(char),
    Lead(usize),
}

/// An operand, with the label of each axis.
#[derive(Clone)]
struct Term {
    value: ValueId,
    labels: Vec<Label>,
}

impl Term {
    fn has(&self, label: &Label) -> bool {
        self.labels.contains(label)
    }
}

fn einsum(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let equation: String = c.text_or("equation", "")?.split_whitespace().collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let mut terms = Vec::new();
    let texts: Vec<&str> = left.split(',').collect();
    let values = c.operands()?;
    if texts.len() != values.len() {
        return unsupported(format!("equation {equation:?} for {} inputs", values.len()));
    }
    for (text, value) in texts.into_iter().zip(values) {
        let labels = labels(text, Some(c.rank(value)?))?;
        if (1..labels.len()).any(|i| labels[..i].contains(&labels[i])) {
            return unsupported(format!("an axis twice in {text:?}"));
        }
        terms.push(Term { value, labels });
    }
    let result = match right {
        Some(text) => {
            let lead = longest_lead(&terms);
            let letters = text.replace("...", "").chars().count();
            let dots = text.contains("...");
            labels(text, Some(letters + if dots { lead } else { 0 }))?
        }
        None => implied(&terms),
    };
    let unknown = |label: &&Label| !terms.iter().any(|term| term.has(label));
    if let Some(label) = result.iter().find(unknown) {
        return unsupported(format!("equation {equation:?}, in which {label:?} is of no input"));
    }
    let y = match &terms[..] {
        [a, b] => match product(c, a, b, &result)? {
            Some(y) => y,
            None => broadcast(c, &terms, &result)?,
        },
        _ => broadcast(c, &terms, &result)?,
    };
    Ok(vec![y])
}

/// The labels of a term of this rank; `...` takes what the letters leave.
fn labels(text: &str, rank: Option<usize>) -> Result<Vec<Label>, Fail> {
    let (before, after) = text.split_once("...").unwrap_or((text, ""));
    let letters = before.chars().count() + after.chars().count();
    let is_known = |c: char| c.is_ascii_alphabetic();
    let lead = rank.and_then(|rank| rank.checked_sub(letters));
    let lead = match (lead, text.contains("...")) {
        (Some(lead), true) => lead,
        (Some(0), false) => 0,
        _ => return unsupported(format!("{text:?} for {rank:?} dimensions")),
    };
    if !before.chars().chain(after.chars()).all(is_known) {
        return unsupported(format!("the term {text:?}"));
    }
    let letter = |text: &str| text.chars().map(Label::Letter).collect::<Vec<_>>();
    let lead: Vec<Label> = (0..lead).rev().map(Label::Lead).collect();
    Ok([letter(before), lead, letter(after)].concat())
}

/// The most axes that `...` stands for.
fn longest_lead(terms: &[Term]) -> usize {
    let leads = |term: &Term| term.labels.iter().filter(|l| matches!(l, Label::Lead(_))).count();
    terms.iter().map(leads).max().unwrap_or(0)
}

/// Where no result is given: `...`, then the letters that stand once, in the order of the alphabet.
fn implied(terms: &[Term]) -> Vec<Label> {
    let all: Vec<Label> = terms.iter().flat_map(|term| term.labels.iter().copied()).collect();
    let mut letters: Vec<char> = all
        .iter()
        .filter_map(|label| match label {
            Label::Letter(c) if all.iter().filter(|other| *other == label).count() == 1 => Some(*c),
            _ => None,
        })
        .collect();
    letters.sort_unstable();
    let lead = (0..longest_lead(terms)).rev().map(Label::Lead);
    lead.chain(letters.into_iter().map(Label::Letter)).collect()
}

/// The value with its axes in this order; labels that it has not are axes of extent 1. Labels of the
/// term that the order lacks must not be there.
fn ordered(c: &mut Context<'_, '_>, role: &str, term: &Term, order: &[Label]) -> ValueId {
    let present: Vec<&Label> = order.iter().filter(|label| term.has(label)).collect();
    let place = |label: &Label| term.labels.iter().position(|l| l == label).unwrap_or_default();
    let perm: Vec<usize> = present.iter().map(|label| place(label)).collect();
    let mut value = term.value;
    if !perm.iter().copied().eq(0..perm.len()) {
        value = c.transpose(&format!("{role}.ordered"), value, &perm);
    }
    let missing = (0..order.len()).filter(|&at| !term.has(&order[at]));
    let axes: Vec<i64> = missing.map(|at| at as i64).collect();
    match axes.is_empty() {
        true => value,
        false => c.add(&format!("{role}.wide"), Unsqueeze { axes }, &[value]),
    }
}

/// The term without the axes that are in no other and not in the result, which are summed.
fn without_own(c: &mut Context<'_, '_>, role: &str, term: &Term, kept: &[Label]) -> Term {
    let own = (0..term.labels.len()).filter(|&at| !kept.contains(&term.labels[at]));
    let axes: Vec<i64> = own.map(|at| at as i64).collect();
    if axes.is_empty() {
        return term.clone();
    }
    let op = Reduce { function: ReduceFn::Sum, axes, keep_dims: false };
    let value = c.add(&format!("{role}.summed"), op, &[term.value]);
    let labels = term.labels.iter().copied().filter(|label| kept.contains(label)).collect();
    Term { value, labels }
}

/// Two operands as a product of matrices, where rows, columns and what is summed are one axis each;
/// else `None`.
fn product(
    c: &mut Context<'_, '_>,
    a: &Term,
    b: &Term,
    result: &[Label],
) -> Result<Option<ValueId>, Fail> {
    let kept = |other: &Term| [result, &other.labels[..]].concat();
    let chosen = |of: &Term, test: &dyn Fn(&Label) -> bool| -> Vec<Label> {
        of.labels.iter().copied().filter(|label| test(label)).collect()
    };
    let batch: Vec<Label> = result.iter().copied().filter(|l| a.has(l) && b.has(l)).collect();
    let rows = chosen(a, &|l| !b.has(l) && result.contains(l));
    let columns = chosen(b, &|l| !a.has(l) && result.contains(l));
    let summed = chosen(a, &|l| b.has(l) && !result.contains(l));
    let is_product = summed.len() == 1 && rows.len() <= 1 && columns.len() <= 1;
    if !is_product || batch.len() + 2 > MAX_RANK {
        return Ok(None);
    }
    let (a, b) = (without_own(c, "a", a, &kept(b)), without_own(c, "b", b, &kept(a)));
    // An axis of extent 1 stands for rows or columns that are not there.
    let nothing = [Label::Letter(' ')];
    let or_one = |labels: &[Label]| if labels.is_empty() { nothing } else { [labels[0]] };
    let order_a = [&batch[..], &or_one(&rows), &summed].concat();
    let order_b = [&batch[..], &summed, &or_one(&columns)].concat();
    let left = ordered(c, "a", &a, &order_a);
    let right = ordered(c, "b", &b, &order_b);
    let mut value = c.add("product", MatMul, &[left, right]);
    let mut labels = batch.clone();
    let mut gone = Vec::new();
    for (at, axis) in [(batch.len(), &rows), (batch.len() + 1, &columns)] {
        match axis.first() {
            Some(&label) => labels.push(label),
            None => gone.push(at as i64),
        }
    }
    if !gone.is_empty() {
        value = c.add("narrow", Squeeze { axes: gone }, &[value]);
    }
    Ok(Some(ordered(c, "y", &Term { value, labels }, result)))
}

/// Any number of operands: products of all, with an axis for each label, then a sum.
fn broadcast(c: &mut Context<'_, '_>, terms: &[Term], result: &[Label]) -> Result<ValueId, Fail> {
    let mut order = result.to_vec();
    for label in terms.iter().flat_map(|term| &term.labels) {
        if !order.contains(label) {
            order.push(*label);
        }
    }
    if order.len() > MAX_RANK {
        return unsupported(format!("{} axes; at most {MAX_RANK}", order.len()));
    }
    let mut product = None;
    for (i, term) in terms.iter().enumerate() {
        let factor = ordered(c, &format!("factor{i}"), term, &order);
        product = Some(match product {
            None => factor,
            Some(so_far) => c.binary(&format!("product{i}"), BinaryFn::Mul, so_far, factor),
        });
    }
    let Some(product) = product else { return unsupported("it has no inputs") };
    let axes: Vec<i64> = (result.len()..order.len()).map(|at| at as i64).collect();
    if axes.is_empty() {
        return Ok(product);
    }
    Ok(c.add("", Reduce { function: ReduceFn::Sum, axes, keep_dims: false }, &[product]))
}
