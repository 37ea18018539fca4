#!/bin/sh
# Amends Bochs 3.0 where it computes or keeps AMX and AVX-512 otherwise than a processor does.
#   tests/emulated/amend.sh FOLDER   its source, unpacked and untouched
set -eu

cd "${1:?the folder of the source}/cpu"

# Lines are those of version 3.0; whoever has another one must look which of this it still needs.
grep -q '^VERSION="3.0"' ../configure || {
    echo "amend.sh: $1 is not the source of Bochs 3.0" >&2
    exit 1
}
amend() {
    cp "$1" "$1.before"
    sed -i "$2" "$1"
    ! cmp -s "$1" "$1.before" || {
        echo "amend.sh: nothing to amend in $1: is it Bochs 3.0, untouched?" >&2
        exit 1
    }
    rm "$1.before"
}

# The upper half of two vectors' bf16 was read beyond the end of the second.
amend avx/avx512_bf16.cc '70s/32u(n)/32u(n - DWORD_ELEMENTS(len))/'
# Masks of 16 bits may be shifted by 15.
amend avx/avx512_mask16.cc '160s/15/16/; 174s/15/16/'
# Addresses of products of bf16 count in whole vectors.
amend decoder/ia_opcodes_evex.def '242s/mVdq32/mVps/'
# Bytes with a sign were taken for bytes without.
amend avx/amx.cc '282,283s/Bit8u/Bit8s/g; 295s/Bit8u/Bit8s/g; 309s/Bit8u/Bit8s/g'
# When threads take turns: rows and bytes a row changed places, half of each tile was left behind, and tiles in use counted as not in use.
amend xsave.cc '1142s/rows/bytes_per_row/; 1143s/bytes_per_row/rows/; 1175s/REGISTERS/MAX_ROWS/; 1186s/REGISTERS/MAX_ROWS/; 1203s/==/!=/'

# Linux lets nobody have tiles unless the processor can say that somebody wants them for the first time (XFD: two registers, and the
# fault "device not available").
amend cpu.h '672a\  Bit64u ia32_xfd, ia32_xfd_error;'
amend init.cc '1057a\  BX_CPU_THIS_PTR msr.ia32_xfd = BX_CPU_THIS_PTR msr.ia32_xfd_error = 0;'
amend cpuid.cc '238a\    if (is_cpu_extension_supported(BX_ISA_AMX)) leaf->eax |= 1 << 4;
262a\      if (subfunction == xcr0_t::BX_XCR0_XTILEDATA_BIT) leaf->ecx |= 1 << 2;'
amend msr.cc '112a\  msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor("XFD", BX_ISA_AMX);\
  msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor("XFD_ERROR", BX_ISA_AMX);
337a\    case BX_MSR_IA32_XFD: val64 = BX_CPU_THIS_PTR msr.ia32_xfd; break;\
    case BX_MSR_IA32_XFD_ERROR: val64 = BX_CPU_THIS_PTR msr.ia32_xfd_error; break;
961a\    case BX_MSR_IA32_XFD: BX_CPU_THIS_PTR msr.ia32_xfd = val_64; handleAvxModeChange(); break;\
    case BX_MSR_IA32_XFD_ERROR: BX_CPU_THIS_PTR msr.ia32_xfd_error = val_64; break;'
amend proc_ctrl.cc '541s/)$/ || (BX_CPU_THIS_PTR msr.ia32_xfd \& BX_XCR0_XTILEDATA_MASK) != 0)/
608a\  if (BX_CPU_THIS_PTR msr.ia32_xfd \& BX_XCR0_XTILEDATA_MASK) {\
    BX_CPU_THIS_PTR msr.ia32_xfd_error = BX_XCR0_XTILEDATA_MASK;\
    exception(BX_NM_EXCEPTION, 0);\
  }'
