//! Which instruction sets this processor has.

use std::sync::OnceLock;

static BEST: OnceLock<Isa> = OnceLock::new();

/// An instruction set that the kernels are written for; a greater one includes the smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nn) enum Isa {
    /// None: what the compiler makes of plain Rust.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, VL.
    Avx512,
    /// AVX-512 with products of bytes.
    Avx512Vnni,
    /// AVX-512 with products of bf16 and of bytes.
    Avx512Bf16,
    /// Tiles of bf16 and of bytes.
    Amx,
}

impl Isa {
    /// Every one, the greatest first.
    pub const ALL: [Self; 6] = [Self::Amx, Self::Avx512Bf16, Self::Avx512Vnni, Self::Avx512, Self::Avx2, Self::Portable];

    /// The greatest that this processor and its kernel have, or that [`Isa::limit`] allows.
    pub fn best() -> Self {
        *BEST.get_or_init(Self::greatest)
    }

    /// Has this process do with no greater one. `false` where kernels have been chosen already.
    pub fn limit(self) -> bool {
        BEST.set(self.min(Self::greatest())).is_ok()
    }

    fn greatest() -> Self {
        let found = Self::ALL.into_iter().find(|isa| isa.detected()).unwrap_or(Self::Portable);
        #[cfg(target_arch = "x86_64")]
        if found == Self::Avx512Bf16 && has_tiles() {
            tracing::warn!(
                used = %found,
                "processor: Linux does not let this process use the tiles of AMX, which is slower; that takes Linux 5.16, and system \
                 call filters that let arch_prctl through"
            );
        }
        found.min(Self::tested())
    }

    /// What tests are held to, so that smaller instruction sets are tested as a whole, too.
    #[cfg(test)]
    fn tested() -> Self {
        let Ok(most) = std::env::var("HAIRLINE_TEST_INSTRUCTIONS") else { return Self::Amx };
        Self::ALL.into_iter().find(|isa| isa.key() == most).unwrap_or_else(|| panic!("no instruction set {most}"))
    }

    #[cfg(not(test))]
    fn tested() -> Self {
        Self::Amx
    }

    /// Its name in arguments, such as `avx512-vnni`.
    pub fn key(self) -> String {
        self.to_string().to_lowercase().replace("avx-512", "avx512").replace(' ', "-")
    }

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        self <= Self::best()
    }

    /// Whether products of bf16 take it longer than those of `f32` do: Intel's vectors (OpenVINO's took 1.6 times as long), not its
    /// tiles, nor AMD's vectors, which take half as long.
    pub fn is_slow_at_bf16(self) -> bool {
        self == Self::Avx512Bf16 && is_by_intel()
    }

    #[cfg(target_arch = "x86_64")]
    fn detected(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => {
                Self::Avx2.detected()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            Self::Avx512Vnni => Self::Avx512.detected() && is_x86_feature_detected!("avx512vnni"),
            Self::Avx512Bf16 => Self::Avx512Vnni.detected() && is_x86_feature_detected!("avx512bf16"),
            Self::Amx => Self::Avx512Bf16.detected() && has_tiles() && tiles_granted(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detected(self) -> bool {
        self == Self::Portable
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::Avx512Bf16 => "AVX-512 bf16",
            Self::Amx => "AMX",
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn is_by_intel() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // In a virtual machine the question is a slow one.
    *FOUND.get_or_init(|| {
        let found = std::arch::x86_64::__cpuid(0);
        [found.ebx, found.edx, found.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn is_by_intel() -> bool {
    false
}

/// CPUID leaf 7: AMX-BF16, AMX-INT8 and AMX-TILE; XCR0: the operating system keeps the tiles' configuration and data.
#[cfg(target_arch = "x86_64")]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ALL: u32 = AMX_BF16 | AMX_TILE | AMX_INT8;
    const TILE_STATE: u32 = 0b11 << 17;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(7, 0).edx & ALL != ALL {
        return false;
    }
    let xcr0: u32;
    // SAFETY: OSXSAVE says that XGETBV is there; it changes the two registers that are named.
    unsafe { std::arch::asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _, options(nomem, nostack, preserves_flags)) };
    xcr0 & TILE_STATE == TILE_STATE
}

/// Asks Linux to let this process use the tiles' data; it refuses where the kernel is older than 5.16.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_granted() -> bool {
    const SYS_ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that touches no memory of ours; Linux overwrites rcx and r11.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") SYS_ARCH_PRCTL => result, in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles_granted() -> bool {
    false
}
