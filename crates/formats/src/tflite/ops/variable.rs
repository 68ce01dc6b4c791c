//! Operators of variables, which last from run to run.

use super::{Context, Fail};
use depthwise_layers::ir::ValueId;

/// A converter whose results may be handles, which are no values.
pub(super) type Convert = fn(&mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail>;

/// Number, name, converter.
pub(super) const ROWS: &[(i32, &str, Convert)] = &[
    (129, "CALL_ONCE", call_once),
    (142, "VAR_HANDLE", var_handle),
    (143, "READ_VARIABLE", read_variable),
    (144, "ASSIGN_VARIABLE", assign_variable),
];

/// Options: the position of the network to run (field 0).
fn call_once(c: &mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail> {
    let network = c.i32(0, 0)?;
    c.importer().initialize_variables(network)?;
    Ok(Vec::new())
}

/// Options: container (field 0) and name (1).
fn var_handle(c: &mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail> {
    let (container, name) = (c.text(0)?, c.text(1)?);
    let tensor = c.result(0)?;
    c.importer().variable_handle(tensor, container, name);
    Ok(vec![None])
}

fn read_variable(c: &mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail> {
    let handle = c.present(0)?;
    Ok(vec![Some(c.importer().read_variable(handle)?)])
}

fn assign_variable(c: &mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail> {
    let (handle, value) = (c.present(0)?, c.present(1)?);
    let reader = c.reader();
    c.importer().assign_variable(handle, value, &reader)?;
    Ok(Vec::new())
}
