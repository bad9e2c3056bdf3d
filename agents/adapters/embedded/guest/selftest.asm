; Drover's own guest: a machine that keeps a heartbeat, writes memory at a set rate and checks itself for ever.
; What a migration may lose (a page, a register, a flag, the clock) it notices and counts. It says so on COM1.
;
; Assemble: nasm -f bin -o selftest.bin selftest.asm          (image committed in selftest-image.ts)
; Command line: m<memory MiB> r<MiB written per second> w<working set MiB>
; Console in:  R<number><newline> new rate · P power off · X crash (triple fault)
; Console out: S <boot id> <heartbeats> <errors> <kinds> <longest gap, 1024 ns> <uptime, 2^20 ns> <pages written>
;              OFF before it powers off · F <vector> <stack> <stack> <stack> <cr2> on an unexpected fault
;
; Code and written data never share a page: a store beside code would throw away its compiled form.

bits 32
org 0x100000

MAGIC       equ 0x1BADB002
FLAGS       equ 0x00010000              ; the header gives the addresses

VARS        equ 0x104000                ; variables: one page
TABLES      equ 0x105000                ; interrupt and segment descriptors: one page
GDT         equ TABLES + 0x800
STACK_TOP   equ 0x107000                ; one page below
PAGE_DIR    equ 0x108000                ; one page, entries of 4 MiB
GENERATIONS equ 0x110000                ; one word per page of memory: how often it was written

COM1        equ 0x3F8
PIT_DIVISOR equ 11932                   ; 100 Hz

STEP        equ 0xC2B2AE3D              ; between neighbouring words of a page
SPARSE      equ 64                      ; every how many words a passing check looks
CHECKED     equ 400                     ; pages looked at in each tick
FILLED      equ 64                      ; pages filled at a time after the start
LONGEST_US  equ 50000                   ; time that is written for at most, so that a pause is not made up for

CONTROL     equ 0x0A7F                  ; x87: round up, 53 bits, all masked: nothing of it is the default
SSE_CONTROL equ 0x5F80                  ; rounds up as well

; kinds of errors
BAD_PAGE    equ 1
BAD_STATUS  equ 2
BAD_CONTROL equ 4
BAD_STACK   equ 8
BAD_ROUND   equ 16
BAD_MXCSR   equ 32
BAD_XMM     equ 64
BAD_FLAGS   equ 128
BAD_REGS    equ 256
BAD_CLOCK   equ 512

absolute VARS
boot_id:    resd 2
boot_tsc:   resd 2
last_tick:  resd 2
last_work:  resd 2
heartbeats: resd 1
pending:    resd 1
gap:        resd 1
errors:     resd 1
kinds:      resd 1
written:    resd 1
until_line: resd 1
memory:     resd 1                      ; MiB, from the command line
rate:       resd 1                      ; MiB/s, from the command line
working:    resd 1                      ; MiB, from the command line
first_page: resd 1
end_page:   resd 1
end_work:   resd 1
fill_page:  resd 1
work_page:  resd 1
look_page:  resd 1
phase:      resd 1
remainder:  resd 1
idle_case:  resd 1
idle_flags: resd 1
number:     resd 1
in_number:  resd 1
fpu_status: resd 1
scratch:    resd 4
ref_stack:  resb 3 * 16
ref_third:  resb 16
ref_xmm:    resd 4
pointer:    resb 8

section .text
header:
    dd MAGIC, FLAGS, -(MAGIC + FLAGS)
    dd header, header, image_end, image_end, entry

entry:
    cli
    cld
    mov esp, STACK_TOP
    mov esi, [ebx + 16]                 ; the command line, as multiboot gives it
    mov dword [memory], 16
    call read_settings
    call set_descriptors
    call set_paging
    call set_devices
    call set_processor
    call set_pool
    sti

main:
    mov eax, [fill_page]
    cmp eax, [end_page]
    jae .filled
    call fill
    cmp dword [pending], 0
    je main
    mov dword [pending], 0
    call console
    call status
    jmp main
.filled:
    cli
    cmp dword [pending], 0
    jne .work
    call idle                           ; enables interrupts
    jmp main
.work:
    mov dword [pending], 0
    sti
    call check_processor
    call write
    call look
    call console
    call status
    jmp main

; ---------------------------------------------------------------- setting up

read_settings:                          ; esi: letters, each followed by a number
.next:
    lodsb
    test al, al
    jz .done
    mov edi, memory
    cmp al, 'm'
    je .number
    mov edi, rate
    cmp al, 'r'
    je .number
    mov edi, working
    cmp al, 'w'
    jne .next
.number:
    xor ecx, ecx
.digit:
    movzx eax, byte [esi]
    sub eax, '0'
    cmp eax, 9
    ja .store
    imul ecx, ecx, 10
    add ecx, eax
    inc esi
    jmp .digit
.store:
    mov [edi], ecx
    jmp .next
.done:
    ret

set_descriptors:
    mov dword [GDT], 0
    mov dword [GDT + 4], 0
    mov dword [GDT + 8], 0x0000FFFF     ; code, flat
    mov dword [GDT + 12], 0x00CF9A00
    mov dword [GDT + 16], 0x0000FFFF    ; data, flat
    mov dword [GDT + 20], 0x00CF9200
    mov word [pointer], 23
    mov dword [pointer + 2], GDT
    lgdt [pointer]
    jmp 8:.flat
.flat:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    xor ecx, ecx
    mov edi, TABLES
    mov eax, faults
.fault:
    call set_gate
    add eax, FAULT_SIZE
    inc ecx
    cmp ecx, 32
    jb .fault
    mov eax, tick
    call set_gate
    mov ecx, 15
    mov eax, ignore
.other:
    call set_gate
    dec ecx
    jnz .other
    mov word [pointer], 48 * 8 - 1
    mov dword [pointer + 2], TABLES
    lidt [pointer]
    ret

set_gate:                               ; eax: handler, edi: where; moves edi on
    mov [edi], ax
    mov word [edi + 2], 8
    mov word [edi + 4], 0x8E00
    mov edx, eax
    shr edx, 16
    mov [edi + 6], dx
    add edi, 8
    ret

set_paging:                             ; memory is mapped to itself, 4 MiB at a time
    mov ecx, [memory]
    add ecx, 3
    shr ecx, 2
    mov edi, PAGE_DIR
    mov eax, 0x83
.entry:
    mov [edi], eax
    add eax, 0x400000
    add edi, 4
    dec ecx
    jnz .entry
    mov eax, cr4
    or eax, 0x610                       ; large pages, SSE state
    mov cr4, eax
    mov eax, PAGE_DIR
    mov cr3, eax
    mov eax, cr0
    and eax, ~4
    or eax, 0x80000022                  ; paging, x87 errors as exceptions
    mov cr0, eax
    jmp .on
.on:
    ret

%macro put 2
    mov al, %2
    out %1, al
%endmacro

%macro put_com 2
    mov dx, COM1 + %1
    mov al, %2
    out dx, al
%endmacro

set_devices:
    put 0x20, 0x11                      ; interrupt controllers: vectors from 32
    put 0xA0, 0x11
    put 0x21, 32
    put 0xA1, 40
    put 0x21, 4
    put 0xA1, 2
    put 0x21, 1
    put 0xA1, 1
    put 0x21, 0xFE                      ; the timer alone
    put 0xA1, 0xFF
    put 0x43, 0x34
    put 0x40, PIT_DIVISOR & 255
    put 0x40, PIT_DIVISOR >> 8
    put_com 1, 0
    put_com 3, 0x80
    put_com 0, 1
    put_com 1, 0
    put_com 3, 3
    put_com 2, 7
    put_com 4, 3
    ret

set_processor:
    rdtsc
    mov [boot_tsc], eax
    mov [boot_tsc + 4], edx
    mov [last_tick], eax
    mov [last_tick + 4], edx
    mov [last_work], eax
    mov [last_work + 4], edx
    rdrand ecx
    xor ecx, eax
    mov [boot_id], ecx
    rdrand ecx
    mov [boot_id + 4], ecx
    mov dword [until_line], 10
    fninit
    mov word [scratch], CONTROL
    fldcw [scratch]
    fldlg2
    fldl2e
    fldpi
    fld st0
    fstp tword [ref_stack]
    fld st1
    fstp tword [ref_stack + 16]
    fld st2
    fstp tword [ref_stack + 32]
    fld1
    fdiv dword [three]
    fstp tword [ref_third]
    fnstsw [fpu_status]
    mov dword [scratch], SSE_CONTROL
    ldmxcsr [scratch]
    mov eax, [boot_id]
    mov [ref_xmm], eax
    mov [ref_xmm + 8], eax
    not eax
    mov [ref_xmm + 4], eax
    mov [ref_xmm + 12], eax
    movdqu xmm5, [ref_xmm]
    ret

set_pool:                               ; everything behind the generations is filled, written and checked
    mov eax, [memory]
    shl eax, 8                          ; pages
    mov [end_page], eax
    shl eax, 2
    add eax, GENERATIONS + 4095
    shr eax, 12
    mov [first_page], eax
    mov [fill_page], eax
    mov [work_page], eax
    mov [look_page], eax
    mov ecx, [working]
    shl ecx, 8
    add eax, ecx
    cmp eax, [end_page]
    jbe .fits
    mov eax, [end_page]
.fits:
    mov [end_work], eax
    ret

; ---------------------------------------------------------------- interrupts

tick:
    pushad
    rdtsc
    mov ecx, eax
    mov ebx, edx
    sub eax, [last_tick]
    sbb edx, [last_tick + 4]
    mov [last_tick], ecx
    mov [last_tick + 4], ebx
    jns .forward                        ; mov leaves the flags of sbb alone
    inc dword [errors]
    or dword [kinds], BAD_CLOCK
    jmp .count
.forward:
    shrd eax, edx, 10
    cmp eax, [gap]
    jbe .count
    mov [gap], eax
.count:
    inc dword [heartbeats]
    inc dword [pending]
    mov al, 0x20
    out 0x20, al
    popad
    iretd

ignore:
    iretd

faults:
%assign vector 0
%rep 32
    push strict dword vector
    jmp strict near fault
%assign vector vector + 1
%endrep
FAULT_SIZE equ 10

fault:
    mov al, 'F'
    call put_char
    mov ecx, 4
.word:
    pop eax
    call put_word
    dec ecx
    jnz .word
    mov eax, cr2
    call put_word
    call put_line
.stand:
    cli
    hlt
    jmp .stand

; ---------------------------------------------------------------- memory

first_word:                             ; eax: page, edx: generation; gives eax: its first word; changes edx
    imul eax, eax, 0x9E3779B1
    imul edx, edx, 0x85EBCA77
    xor eax, edx
    add eax, [boot_id]
    ret

write_page:                             ; eax: page; changes eax, ecx, edx, edi
    mov edx, [GENERATIONS + eax * 4]
    inc edx
    mov [GENERATIONS + eax * 4], edx
    mov edi, eax
    shl edi, 12
    call first_word
    mov ecx, 256
.words:
    mov [edi], eax
    add eax, STEP
    mov [edi + 4], eax
    add eax, STEP
    mov [edi + 8], eax
    add eax, STEP
    mov [edi + 12], eax
    add eax, STEP
    add edi, 16
    dec ecx
    jnz .words
    ret

check_page:                             ; eax: page; a bad one is counted and made good; changes all but ebp
    mov esi, eax
    mov edi, eax
    shl edi, 12
    mov edx, [GENERATIONS + eax * 4]
    call first_word
    mov ecx, [phase]
    imul ebx, ecx, STEP
    add eax, ebx
    lea edi, [edi + ecx * 4]
    mov ecx, 1024 / SPARSE
.words:
    cmp [edi], eax
    jne .bad
    add eax, (STEP * SPARSE) & 0xFFFFFFFF
    add edi, SPARSE * 4
    dec ecx
    jnz .words
    ret
.bad:
    inc dword [errors]
    or dword [kinds], BAD_PAGE
    mov eax, esi
    jmp write_page

fill:
    mov ebp, FILLED
.page:
    mov eax, [fill_page]
    cmp eax, [end_page]
    jae .done
    call write_page
    inc dword [fill_page]
    dec ebp
    jnz .page
.done:
    rdtsc
    mov [last_work], eax
    mov [last_work + 4], edx
    ret

write:                                  ; as many pages as the time since the last call asks for
    rdtsc
    mov ecx, eax
    mov ebx, edx
    sub eax, [last_work]
    sbb edx, [last_work + 4]
    mov [last_work], ecx
    mov [last_work + 4], ebx
    cmp edx, 999
    ja .long
    mov ecx, 1000
    div ecx
    cmp eax, LONGEST_US
    jbe .microseconds
.long:
    mov eax, LONGEST_US
.microseconds:
    mov ecx, [rate]
    shl ecx, 8                          ; pages per second
    mul ecx
    add eax, [remainder]
    adc edx, 0
    mov ecx, 1000000
    div ecx
    mov [remainder], edx
    mov ebp, eax
    mov eax, [work_page]
    cmp eax, [end_work]                 ; an empty working set
    jne .next
    ret
.next:
    test ebp, ebp
    jz .done
    mov eax, [work_page]
    call check_page
    mov eax, [work_page]
    call write_page
    inc dword [written]
    mov eax, [work_page]
    inc eax
    cmp eax, [end_work]
    jb .same
    mov eax, [first_page]
.same:
    mov [work_page], eax
    dec ebp
    jmp .next
.done:
    ret

look:                                   ; a few words of the next pages; other words in each pass over memory
    mov ebp, CHECKED
.next:
    mov eax, [look_page]
    call check_page
    mov eax, [look_page]
    inc eax
    cmp eax, [end_page]
    jb .same
    mov eax, [phase]
    add eax, 29                         ; odd, so that every word has its turn
    and eax, SPARSE - 1
    mov [phase], eax
    mov eax, [first_page]
.same:
    mov [look_page], eax
    dec ebp
    jnz .next
    ret

; ---------------------------------------------------------------- processor

wrong:                                  ; ebx: kind
    inc dword [errors]
    or [kinds], ebx
    ret

same_ten_bytes:                         ; scratch against edi; zero flag when equal
    mov eax, [scratch]
    cmp eax, [edi]
    jne .done
    mov eax, [scratch + 4]
    cmp eax, [edi + 4]
    jne .done
    mov ax, [scratch + 8]
    cmp ax, [edi + 8]
.done:
    ret

%macro check_stack 1
    fld st%1
    fstp tword [scratch]
    mov edi, ref_stack + %1 * 16
    call same_ten_bytes
    je %%good
    mov ebx, BAD_STACK
    call wrong
%%good:
%endmacro

check_processor:
    fnstsw ax
    cmp ax, [fpu_status]
    je .status_good
    mov ebx, BAD_STATUS
    call wrong
.status_good:
    fnstcw [scratch]
    cmp word [scratch], CONTROL
    je .control_good
    mov ebx, BAD_CONTROL
    call wrong
.control_good:
    check_stack 0
    check_stack 1
    check_stack 2
    fld1
    fdiv dword [three]
    fstp tword [scratch]
    mov edi, ref_third
    call same_ten_bytes
    je .round_good
    mov ebx, BAD_ROUND
    call wrong
.round_good:
    stmxcsr [scratch]
    cmp dword [scratch], SSE_CONTROL
    je .mxcsr_good
    mov ebx, BAD_MXCSR
    call wrong
.mxcsr_good:
    movdqu [scratch], xmm5
    mov ecx, 3
.lane:
    mov eax, [scratch + ecx * 4]
    cmp eax, [ref_xmm + ecx * 4]
    jne .lane_bad
    add dword [ref_xmm + ecx * 4], STEP ; another value is carried from now on
    dec ecx
    jns .lane
    jmp .lanes_good
.lane_bad:
    mov ebx, BAD_XMM
    call wrong
.lanes_good:
    movdqu xmm5, [ref_xmm]
    test dword [heartbeats], 1          ; leave other condition codes behind in every other tick
    jz .equal
    fcom st1
    fnstsw [fpu_status]
    ret
.equal:
    fcom st0
    fnstsw [fpu_status]
    ret

idle:                                   ; stands still until the next tick, with known flags and registers
    mov eax, [idle_case]
    inc eax
    and eax, 3
    mov [idle_case], eax
    mov edx, [cases + eax * 8]
    mov ecx, [cases + eax * 8 + 4]
    movzx eax, word [case_flags + eax * 2]
    mov [idle_flags], eax
    mov eax, [heartbeats]
    lea ebx, [eax + 0x11111111]
    lea esi, [eax + 0x22222222]
    lea edi, [eax + 0x33333333]
    lea ebp, [eax + 0x44444444]
    cmp edx, ecx                        ; nobody reads these flags before the halt
    sti
    hlt
    pushfd
    sub ebx, eax
    sub esi, eax
    sub edi, eax
    sub ebp, eax
    pop ecx
    and ecx, 0x8D5
    cmp ecx, [idle_flags]
    je .flags_good
    push ebx
    mov ebx, BAD_FLAGS
    call wrong
    pop ebx
.flags_good:
    cmp ebx, 0x11111111
    jne .bad
    cmp esi, 0x22222222
    jne .bad
    cmp edi, 0x33333333
    jne .bad
    cmp ebp, 0x44444444
    jne .bad
    ret
.bad:
    mov ebx, BAD_REGS
    jmp wrong

; ---------------------------------------------------------------- console

console:
    mov dx, COM1 + 5
    in al, dx
    test al, 1
    jz .none
    mov dx, COM1
    in al, dx
    cmp dword [in_number], 0
    jne .number
    cmp al, 'P'
    je power_off
    cmp al, 'X'
    je crash
    cmp al, 'R'
    jne console
    mov dword [number], 0
    mov dword [in_number], 1
    jmp console
.number:
    movzx eax, al
    sub eax, '0'
    cmp eax, 9
    ja .end
    mov ecx, [number]
    imul ecx, ecx, 10
    add ecx, eax
    mov [number], ecx
    jmp console
.end:
    mov eax, [number]
    mov [rate], eax
    mov dword [in_number], 0
    jmp console
.none:
    ret

power_off:
    mov al, 'O'
    call put_char
    mov al, 'F'
    call put_char
    mov al, 'F'
    call put_char
    call put_line
.stand:
    cli
    hlt
    jmp .stand

crash:                                  ; no handler for this one, none for the fault of that, none for that one's
    mov word [pointer], 0
    lidt [pointer]
    int3

status:                                 ; one line every ten ticks
    dec dword [until_line]
    jnz .none
    mov dword [until_line], 10
    mov al, 'S'
    call put_char
    mov al, ' '
    call put_char
    mov eax, [boot_id + 4]
    call put_hex
    mov eax, [boot_id]
    call put_hex
    mov eax, [heartbeats]
    call put_word
    mov eax, [errors]
    call put_word
    mov eax, [kinds]
    call put_word
    xor eax, eax
    xchg eax, [gap]
    call put_word
    rdtsc
    sub eax, [boot_tsc]
    sbb edx, [boot_tsc + 4]
    shrd eax, edx, 20
    call put_word
    mov eax, [written]
    call put_word
    jmp put_line
.none:
    ret

put_line:
    mov al, 10
put_char:                               ; al; changes dx, ah
    mov ah, al
    mov dx, COM1 + 5
.busy:
    in al, dx
    test al, 0x20
    jz .busy
    mov al, ah
    mov dx, COM1
    out dx, al
    ret

put_word:                               ; a space and eax
    push eax
    mov al, ' '
    call put_char
    pop eax
put_hex:                                ; eax, eight digits; changes ebx, edx, esi
    mov esi, 8
    mov ebx, eax
.digit:
    rol ebx, 4
    mov eax, ebx
    and eax, 15
    mov al, [digits + eax]
    call put_char
    dec esi
    jnz .digit
    ret

; ---------------------------------------------------------------- constants (read only, so they may stand by code)

align 4
three:      dd 3.0
digits:     db "0123456789abcdef"
cases:      dd 5, 3,  3, 5,  7, 7,  0x80000000, 1
case_flags: dw 0x000, 0x091, 0x044, 0x814
image_end:
%if image_end - header > 0x4000
%error "the code runs into the variables"
%endif
