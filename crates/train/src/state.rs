//! What a trainer needs to go on where it stopped.

use crate::{TrainError, Trainer};
use depthwise_engine::formats::{Weights, safetensors};
use depthwise_tensor::Tensor;
use std::collections::BTreeMap;

/// Version of the layout.
const VERSION: &str = "1";

impl Trainer {
    /// Parameters, running statistics, averages and what the optimizer keeps, as tensors with notes:
    /// write them with [`safetensors::save`]. Restored by [`Trainer::restore`] into a trainer of
    /// the same network and options, they lead to the same bits as if training had not stopped.
    ///
    /// # Errors
    /// [`TrainError::Tensor`] where there is no memory.
    pub fn state(&self) -> Result<Weights, TrainError> {
        let mut tensors = BTreeMap::new();
        let mut add = |name: String, dims: &[usize], data: &[f32]| -> Result<(), TrainError> {
            tensors.insert(name, Tensor::from_slice(dims, data)?);
            Ok(())
        };
        for slot in &self.parameters {
            let (name, dims) = (&slot.name, slot.shape.dims());
            add(format!("parameter/{name}"), dims, &slot.values)?;
            for (which, data) in self.options().optimizer.slots().iter().zip(&slot.state) {
                add(format!("{which}/{name}"), dims, data)?;
            }
            if let Some(average) = &slot.average {
                add(format!("average/{name}"), dims, &average.values)?;
            }
        }
        for running in &self.running {
            let dims = [running.values.len()];
            add(format!("running/{}", running.name), &dims, &running.values)?;
            if let Some(average) = &running.average {
                add(format!("average/{}", running.name), &dims, &average.values)?;
            }
        }
        let metadata = BTreeMap::from([
            ("depthwise-training-state".into(), VERSION.into()),
            ("steps".into(), self.steps.to_string()),
            // Bits, since text may round.
            ("rate-factor".into(), self.rate_factor.to_bits().to_string()),
        ]);
        Ok(Weights { tensors, metadata })
    }

    /// As [`Trainer::state`], in the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`TrainError::State`] where they cannot be written.
    pub fn state_bytes(&self) -> Result<Vec<u8>, TrainError> {
        safetensors::to_bytes(&self.state()?).map_err(|e| TrainError::State(e.to_string()))
    }

    /// Goes back to a state. Nothing changes where it does not fit.
    ///
    /// # Errors
    /// [`TrainError::State`] with what is missing, left over or of another shape.
    pub fn restore(&mut self, state: &Weights) -> Result<(), TrainError> {
        let number = |key: &str| {
            let text = state.metadata.get(key).and_then(|text| text.parse::<u64>().ok());
            text.ok_or_else(|| TrainError::State(format!("it has no number \"{key}\"")))
        };
        if state.metadata.get("depthwise-training-state").map(String::as_str) != Some(VERSION) {
            let reason = format!("it is no training state of version {VERSION}");
            return Err(TrainError::State(reason));
        }
        let (steps, factor) = (number("steps")?, number("rate-factor")?);
        let factor = u32::try_from(factor)
            .map_err(|_| TrainError::State("\"rate-factor\" is out of range".into()))?;
        let mut parameters = self.parameters.clone();
        let mut used = 0;
        let mut take = |name: String, to: &mut Vec<f32>| -> Result<(), TrainError> {
            let tensor = state.get(&name);
            let tensor =
                tensor.ok_or_else(|| TrainError::State(format!("\"{name}\" is missing")))?;
            if tensor.elements() != to.len() {
                let (got, want) = (tensor.elements(), to.len());
                let reason = format!("\"{name}\" has {got} elements, not {want}");
                return Err(TrainError::State(reason));
            }
            to.copy_from_slice(&tensor.to_f32());
            used += 1;
            Ok(())
        };
        let slots = self.options().optimizer.slots();
        for slot in &mut parameters {
            take(format!("parameter/{}", slot.name), &mut slot.values)?;
            for (which, data) in slots.iter().zip(&mut slot.state) {
                take(format!("{which}/{}", slot.name), data)?;
            }
            if let Some(average) = &mut slot.average {
                take(format!("average/{}", slot.name), &mut average.values)?;
            }
        }
        let mut running = self.running.clone();
        for running in &mut running {
            take(format!("running/{}", running.name), &mut running.values)?;
            if let Some(average) = &mut running.average {
                take(format!("average/{}", running.name), &mut average.values)?;
            }
        }
        if used != state.len() {
            let reason = format!("{} tensors belong to nothing here", state.len() - used);
            return Err(TrainError::State(reason));
        }
        (self.parameters, self.running) = (parameters, running);
        self.evaluation = None;
        (self.steps, self.rate_factor) = (steps, f32::from_bits(factor));
        Ok(())
    }
}
