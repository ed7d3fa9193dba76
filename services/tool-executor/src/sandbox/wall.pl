# Sets up the kernel's wall (Landlock, no capabilities, a seccomp filter), then execs a command: same pid, same pipes.
# It needs Perl without modules, which every Debian and Ubuntu has. docs/tools.md describes the wall.
#
#   perl wall.pl ARCH PARENT LANDLOCK [-r PATH | -x PATH]... -- COMMAND ARGUMENT...
#   perl wall.pl ARCH filter           prints the filter's instructions in hex, as for a process with pid 1
#   perl wall.pl ARCH abi              prints the version of Landlock
#
#   ARCH      x64 or arm64
#   PARENT    pid of the calling process; if that has ended already, this one ends too
#   LANDLOCK  "landlock", or "without": then the filter alone, which stops everything but reading
#   -r        a readable file, or a folder with everything below it
#   -x        the same, and it may be executed or mapped as a library
#
# Fails with 125 and "wall: STEP: REASON". No step is optional: a process that runs is behind all of them.
use strict;

# System calls that the filter refuses with EPERM: name, number on x86-64, number on arm64; "-" where there is none.
my $refused = <<'END';
# sockets of every family; inherited ones stay usable
socket 41 198
connect 42 203
accept 43 202
bind 49 200
listen 50 201
socketpair 53 199
accept4 288 242
# processes, signals to them, their scheduling
fork 57 -
vfork 58 -
kill 62 129
tkill 200 130
rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240
setpriority 141 140
sched_setparam 142 118
sched_setscheduler 144 119
sched_setaffinity 203 122
sched_setattr 314 274
ioprio_set 251 30
migrate_pages 256 238
move_pages 279 239
process_madvise 440 440
process_mrelease 448 448
pidfd_open 434 434
pidfd_getfd 438 438
pidfd_send_signal 424 424
# other processes' memory
ptrace 101 117
process_vm_readv 310 270
process_vm_writev 311 271
kcmp 312 272
perf_event_open 298 241
userfaultfd 323 282
# shared memory, semaphores and queues, including those of other processes (PostgreSQL has some)
shmget 29 194
shmat 30 196
shmctl 31 195
semget 64 190
semop 65 193
semctl 66 191
semtimedop 220 192
msgget 68 186
msgsnd 69 189
msgrcv 70 188
msgctl 71 187
mq_open 240 180
mq_unlink 241 181
# memory that no limit counts, and unnamed files
memfd_create 319 279
memfd_secret 447 447
# work that the kernel does on behalf of the process
io_uring_setup 425 425
io_uring_enter 426 426
io_uring_register 427 427
bpf 321 280
# changes to files: Landlock does not cover metadata, and older versions do not cover truncate
creat 85 -
truncate 76 45
fallocate 285 47
mkdir 83 -
mkdirat 258 34
rmdir 84 -
mknod 133 -
mknodat 259 33
rename 82 -
renameat 264 38
renameat2 316 276
link 86 -
linkat 265 37
symlink 88 -
symlinkat 266 36
unlink 87 -
unlinkat 263 35
chmod 90 -
fchmod 91 52
fchmodat 268 53
fchmodat2 452 452
chown 92 -
fchown 93 55
lchown 94 -
fchownat 260 54
setxattr 188 5
lsetxattr 189 6
fsetxattr 190 7
removexattr 197 14
lremovexattr 198 15
fremovexattr 199 16
utime 132 -
utimes 235 -
futimesat 261 -
utimensat 280 88
sync 162 81
syncfs 306 267
# access to files other than by path, and notifications about them
name_to_handle_at 303 264
open_by_handle_at 304 265
fanotify_init 300 262
fanotify_mark 301 263
inotify_init 253 -
inotify_init1 294 26
inotify_add_watch 254 27
lookup_dcookie 212 18
quotactl 179 60
quotactl_fd 443 443
# namespaces, mounts
unshare 272 97
setns 308 268
chroot 161 51
mount 165 40
umount2 166 39
pivot_root 155 41
open_tree 428 428
move_mount 429 429
fsopen 430 430
fsconfig 431 431
fsmount 432 432
fspick 433 433
mount_setattr 442 442
statmount 457 457
listmount 458 458
# the machine
swapon 167 224
swapoff 168 225
reboot 169 142
sethostname 170 161
setdomainname 171 162
acct 163 89
settimeofday 164 170
clock_settime 227 112
adjtimex 159 171
clock_adjtime 305 266
iopl 172 -
ioperm 173 -
init_module 175 105
finit_module 313 273
delete_module 176 106
kexec_load 246 104
kexec_file_load 320 294
syslog 103 116
vhangup 153 58
uselib 134 -
personality 135 92
modify_ldt 154 -
# the kernel's keys
add_key 248 217
request_key 249 218
keyctl 250 219
END

# System calls whose arguments the filter checks, and those that this program makes.
my %numbers = (
  open => [2, undef], openat => [257, 56], openat2 => [437, 437], close => [3, 57], fcntl => [72, 25], ioctl => [16, 29],
  clone => [56, 220], clone3 => [435, 435], tgkill => [234, 131], prlimit64 => [302, 261], prctl => [157, 167],
  capset => [126, 91],
  landlock_create_ruleset => [444, 444], landlock_add_rule => [445, 445], landlock_restrict_self => [446, 446],
);
# The first number that is newer than this list. Behind the wall, newer system calls do not exist: they are unreviewed.
my $youngest = 463;

sub fault { print STDERR "wall: $_[0]: ", $_[1] // $!, "\n"; exit 125 }

my $arch = shift // '';
my $column = $arch eq 'x64' ? 0 : $arch eq 'arm64' ? 1 : fault('architecture', "there is no list of system calls for '$arch'");
my %call = map { $_ => $numbers{$_}[$column] } keys %numbers;

# --- The filter: classic BPF over struct seccomp_data {int nr; u32 arch; u64 instruction_pointer; u64 args[6]}.

my ($load, $is, $atLeast, $hasBits, $return) = (0x20, 0x15, 0x35, 0x45, 0x06);
my ($allow, $kill, $eperm, $enotty, $enosys) = (0x7fff0000, 0x80000000, 0x00050001, 0x00050019, 0x00050026);

# An instruction: code, jumps when true and when false, operand.
sub op { my ($code, $operand, $true, $false) = @_; pack('SCCL', $code, $true // 0, $false // 0, $operand) }

# Rules about the low half of one call's argument. `body` may change the accumulator, so the number is loaded again.
sub about {
  my ($number, $argument, $body) = @_;
  return '' unless defined $number;
  my $rules = op($load, 16 + 8 * $argument) . $body . op($load, 0);
  return op($is, $number, 0, length($rules) / 8) . $rules;
}
sub unlessOne { my ($answer, @ok) = @_; my $left = @ok; join('', map { op($is, $_, $left--, 0) } @ok) . op($return, $answer) }

sub filter {
  my ($own) = @_;
  my $program = op($load, 4) . op($is, $column ? 0xC00000B7 : 0xC000003E, 1, 0) . op($return, $kill) . op($load, 0);
  # The x32 calls of x86-64 have other numbers, and would slip past the list.
  $program .= op($atLeast, 0x40000000, 0, 1) . op($return, $kill) unless $column;
  $program .= op($atLeast, $youngest, 0, 1) . op($return, $enosys);
  # Both hide their arguments behind a pointer. Libraries that get ENOSYS fall back to the older calls.
  $program .= op($is, $call{$_}, 0, 1) . op($return, $enosys) for 'clone3', 'openat2';
  for (split /\n/, $refused) {
    next if /^#/;
    my $number = (split ' ')[1 + $column];
    $program .= op($is, $number, 0, 1) . op($return, $eperm) unless $number eq '-';
  }
  # No file is opened for writing, created or truncated: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC.
  my $writes = op($hasBits, 0x243, 0, 1) . op($return, $eperm);
  $program .= about($call{open}, 1, $writes) . about($call{openat}, 2, $writes);
  # Threads only: CLONE_THREAD.
  $program .= about($call{clone}, 0, op($hasBits, 0x10000, 1, 0) . op($return, $eperm));
  # Signals to this process only, limits of this process only.
  $program .= about($call{tgkill}, 0, unlessOne($eperm, $own)) . about($call{prlimit64}, 0, unlessOne($eperm, 0));
  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. F_SETOWN and F_SETSIG could signal any process.
  $program .= about($call{fcntl}, 1, unlessOne($eperm, 0, 1, 2, 3, 4, 1030));
  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. The rest concerns devices, terminals and networks.
  $program .= about($call{ioctl}, 1, unlessOne($enotty, 0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451));
  # PR_SET_PDEATHSIG, which is set below: the process must not unset it.
  $program .= about($call{prctl}, 0, op($is, 1, 0, 1) . op($return, $eperm));
  return $program . op($return, $allow);
}

my $parent = shift // '';
if ($parent eq 'filter') { print unpack('H*', filter(1)), "\n"; exit 0 }
my $null = 0;
my $abi = syscall($call{landlock_create_ruleset}, $null, $null, 1); # LANDLOCK_CREATE_RULESET_VERSION
my $whyNot = "$!";
if ($parent eq 'abi') { print "$abi\n"; exit 0 }
my $landlock = (shift // '') eq 'landlock';
my @rules;
while (@ARGV) {
  my $option = shift;
  last if $option eq '--';
  fault('arguments', "'$option' is not an option") unless $option eq '-r' || $option eq '-x';
  push @rules, [$option, shift];
}
fault('arguments', 'there is no command') unless @ARGV;

# --- Landlock: the ruleset handles all rights to files, TCP and other processes, which denies them; rules allow some.

my $ruleset = -1;
if ($landlock) {
  fault('landlock', $whyNot) if $abi < 1;
  my $files = $abi >= 5 ? 0xFFFF : $abi >= 3 ? 0x7FFF : $abi == 2 ? 0x3FFF : 0x1FFF;
  my $attributes = pack('QQQ', $files, $abi >= 4 ? 3 : 0, $abi >= 6 ? 3 : 0);
  $ruleset = syscall($call{landlock_create_ruleset}, $attributes, $abi >= 6 ? 24 : $abi >= 4 ? 16 : 8, 0);
  fault('landlock ruleset') if $ruleset < 0;
  for (@rules) {
    my ($option, $path) = @$_;
    my $name = "$path\0";
    my $file = syscall($call{openat}, -100, $name, 0x280000, 0); # AT_FDCWD, O_PATH | O_CLOEXEC
    fault($path) if $file < 0;
    # EXECUTE 1, READ_FILE 4, and READ_DIR 8, which only folders accept.
    my $rule = pack('Ql', ($option eq '-x' ? 1 : 0) | 4 | (-d $path ? 8 : 0), $file);
    syscall($call{landlock_add_rule}, $ruleset, 1, $rule, 0) == 0 or fault("landlock rule $path");
    syscall($call{close}, $file);
  }
}

# --- No capabilities, now or after exec: an empty bounding set, and no way for root to regain them.

sub prctl { my ($option, $value) = @_; return syscall($call{prctl}, $option, $value, 0, 0, 0) }
for my $capability (0 .. 63) {
  my $held = prctl(23, $capability); # PR_CAPBSET_READ
  last if $held < 0;
  # A process that may not empty the set is not root, and gains nothing by exec.
  next if $held == 0 || prctl(24, $capability) == 0; # PR_CAPBSET_DROP
  fault('capabilities') if $> == 0;
}
prctl(28, 0x2f) if $> == 0; # PR_SET_SECUREBITS: NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE and their locks
syscall($call{prctl}, 47, 4, 0, 0, 0); # PR_CAP_AMBIENT, CLEAR_ALL
my ($header, $none) = (pack('Ll', 0x20080522, 0), pack('L6', (0) x 6));
syscall($call{capset}, $header, $none) == 0 or fault('capset');

# --- The process ends with its parent, however that ends. If the parent has ended already, it ends at once.

prctl(1, 9) == 0 or fault('parent'); # PR_SET_PDEATHSIG, SIGKILL
exit 0 if getppid() != $parent;

# --- Close the wall. Both parts require that no exec can add rights.

prctl(38, 1) == 0 or fault('no_new_privs'); # PR_SET_NO_NEW_PRIVS
if ($landlock) {
  syscall($call{landlock_restrict_self}, $ruleset, 0) == 0 or fault('landlock restrict');
  syscall($call{close}, $ruleset);
}
my $instructions = filter($$);
my $program = pack('Sx6P', length($instructions) / 8, $instructions);
syscall($call{prctl}, 22, 2, $program, 0, 0) == 0 or fault('seccomp'); # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
exec { $ARGV[0] } @ARGV;
fault("exec $ARGV[0]");
