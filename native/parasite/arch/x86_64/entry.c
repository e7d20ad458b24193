/* Start of the blob: sandboxd sets rdi = struct fl_parasite *, rsp = top of the region's stack (16-byte aligned) and jumps to offset 0. */
__asm__(
    ".section .text.entry, \"ax\"\n"
    ".globl fl_parasite_entry\n"
    "fl_parasite_entry:\n"
    "  xor %ebp, %ebp\n"
    "  call fl_parasite_main\n"
    "  ud2\n"
    ".text\n");
