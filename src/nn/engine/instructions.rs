use crate::nn::NnError;
use crate::nn::kernels::Isa;

/// Has this process do with no greater instruction set of the CPU than the one of this name: `portable`, `avx2`, `avx512`,
/// `avx512-vnni`, `avx512-bf16` or `amx`. To be called before anything is computed.
///
/// # Errors
/// Another name, or kernels that have been chosen already.
pub fn limit_instructions(most: &str) -> Result<(), NnError> {
    let refused = |reason: &str, remedy: String| NnError::Device { wanted: format!("CPU with {most}"), reason: reason.into(), remedy };
    match Isa::ALL.into_iter().find(|isa| isa.key() == most) {
        None => {
            let known = Isa::ALL.map(Isa::key).join(", ");
            Err(refused("no such instruction set", format!("give one of {known}")))
        }
        Some(isa) if isa.limit() => Ok(()),
        Some(_) => Err(refused("kernels have been chosen already", "set the limit before anything is computed".into())),
    }
}
