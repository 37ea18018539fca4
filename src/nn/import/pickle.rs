//! What a PyTorch state dict tells of its tensors. Its pickle is a program for a small machine, candle's: here it is held to what a state
//! dict needs, so that no file makes it panic, overflow the stack or fill the memory.

use candle_core::DType;
use candle_core::pickle::{Object, Stack};

/// A tensor as a state dict describes it.
#[derive(Debug, PartialEq)]
pub(super) struct Described {
    pub name: String,
    pub dtype: DType,
    pub dims: Vec<usize>,
    /// In values.
    pub strides: Vec<usize>,
    /// Of its first value, in values.
    pub start: usize,
    /// The file with its values, beside `data.pkl` in `data/`.
    pub storage: String,
}

/// Objects that all steps together may leave on top of the stack. A U-Net's state dict takes some ten thousand. As an object made of
/// others is one deeper than they are, this bounds their depth by a thousand and a half, too.
const MOST_OBJECTS: usize = 1_000_000;

/// The tensors of a pickled state dict; what else it holds is left out.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn state_dict(mut pickle: &[u8]) -> Result<Vec<Described>, String> {
    let mut stack = Stack::empty();
    let mut left = MOST_OBJECTS;
    loop {
        check_length(pickle)?;
        if stack.read(&mut pickle).map_err(|error| short(&error.to_string()))? {
            break;
        }
        if let Some(top) = stack.stack().last() {
            left = less_objects_of(top, left).ok_or("its objects are too many, or lie too deep in each other")?;
        }
    }
    let Ok(Object::Dict(entries)) = stack.finalize() else { return Err("it holds no dictionary".into()) };
    Ok(entries.iter().filter_map(|(name, value)| described(name, value)).collect())
}

/// Refuses lengths that candle would believe: of a text, for which it makes room first, and of a whole number.
fn check_length(pickle: &[u8]) -> Result<(), String> {
    match *pickle {
        [b'X', a, b, c, d, ref rest @ ..] if u32::from_le_bytes([a, b, c, d]) as usize > rest.len() => Err("it ends within a text".into()),
        [0x8a, bytes, ..] if bytes > 8 => Err(format!("it holds a whole number of {bytes} bytes")),
        _ => Ok(()),
    }
}

/// Errors may tell whole objects.
fn short(error: &str) -> String {
    error.chars().take(200).collect()
}

/// `left` less the object and all within it; long texts count for several. `None` where there are more.
fn less_objects_of(object: &Object, mut left: usize) -> Option<usize> {
    let mut open = vec![object];
    while let Some(object) = open.pop() {
        let text = match object {
            Object::Unicode(text) => text.len(),
            Object::Class { module_name, class_name } => module_name.len() + class_name.len(),
            _ => 0,
        };
        left = left.checked_sub(1 + text / 64)?;
        match object {
            Object::Tuple(items) | Object::List(items) => open.extend(items),
            Object::Dict(entries) => open.extend(entries.iter().flat_map(|(key, value)| [key, value])),
            Object::Reduce { callable, args } | Object::Build { callable, args } => open.extend([&**callable, &**args]),
            Object::PersistentLoad(id) => open.push(id),
            _ => {}
        }
    }
    Some(left)
}

/// `None` for what is no tensor of a kind that weights have.
fn described(name: &Object, value: &Object) -> Option<Described> {
    let Object::Unicode(name) = name else { return None };
    let (callable, args) = call(value)?;
    // A parameter, or a tensor of another class, wraps the call that makes the tensor.
    let (callable, args) = match callable {
        ("torch._tensor", "_rebuild_from_type_v2") => (class(args.first()?)?, tuple(args.get(2)?)?),
        ("torch._utils", "_rebuild_parameter") => call(args.first()?)?,
        _ => (callable, args),
    };
    let (("torch._utils", "_rebuild_tensor_v2"), [Object::PersistentLoad(storage), start, dims, strides, ..]) = (callable, args) else {
        return None;
    };
    let [_, kind, Object::Unicode(storage), ..] = tuple(storage)? else { return None };
    let dtype = match class(kind)?.1 {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "ByteStorage" => DType::U8,
        "LongStorage" => DType::I64,
        _ => return None,
    };
    let numbers = |tuple_of: &Object| tuple(tuple_of)?.iter().map(number).collect::<Option<Vec<usize>>>();
    let (dims, strides, start) = (numbers(dims)?, numbers(strides)?, number(start)?);
    (dims.len() == strides.len()).then(|| Described { name: name.clone(), dtype, dims, strides, start, storage: storage.clone() })
}

fn call(object: &Object) -> Option<((&str, &str), &[Object])> {
    let Object::Reduce { callable, args } = object else { return None };
    Some((class(callable)?, tuple(args)?))
}

fn class(object: &Object) -> Option<(&str, &str)> {
    let Object::Class { module_name, class_name } = object else { return None };
    Some((module_name, class_name))
}

fn tuple(object: &Object) -> Option<&[Object]> {
    let Object::Tuple(items) = object else { return None };
    Some(items)
}

fn number(object: &Object) -> Option<usize> {
    match object {
        Object::Int(number) => usize::try_from(*number).ok(),
        Object::Long(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_would_fill_the_memory_or_the_stack_are_refused() {
        let refused = |program: &[u8]| state_dict(program).unwrap_err();
        // A pair of the last pair and itself, forty times; a tuple in a tuple, four million times.
        let doubled = [&b"\x80\x02N"[..], &b"q\x00h\x00\x86".repeat(40), b"."].concat();
        assert!(refused(&doubled).contains("too many"));
        let nested = [&b"\x80\x02N"[..], &b"\x85".repeat(4_000_000), b"."].concat();
        assert!(refused(&nested).contains("too deep"));
        assert!(refused(b"X\xff\xff\xff\xffname").contains("within a text"));
        assert!(refused(b"\x8a\xff\x01").contains("255 bytes"));
        assert!(refused(b"N.").contains("no dictionary") && !refused(b"\x80\x02}").is_empty() && !refused(b"").is_empty());
        assert!(refused(&[&b"X\x00\x00\x01\x00"[..], &[b'a'; 65536], b"Na."].concat()).len() <= 200);
    }

    #[test]
    fn calls_without_arguments_are_no_tensors() {
        for call in ["torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n", "torch._tensor\n_rebuild_from_type_v2\n"] {
            let program = [&b"}X\x01\x00\x00\x00wc"[..], call.as_bytes(), b")Rs."].concat();
            assert_eq!(state_dict(&program), Ok(Vec::new()), "{call}");
        }
    }
}
