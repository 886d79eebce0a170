//! Writes the assembly of the product in `src/fma`: two times four residues, in the order in which a processor that starts
//! a few instructions a cycle waits least. Compilers keep neither the order nor the values in registers (docs/adr/0020).

use std::{collections::HashMap, env, fs, io, path::Path};

#[path = "src/fma/layout.rs"]
#[allow(dead_code, reason = "some of it is for what fills the table")]
mod layout;

use layout::*;

/// Vectors of a residue's digits that follow each other.
const VECTOR: usize = 32;
/// Instructions that are looked at for the next one to start.
const WINDOW: usize = 100;
/// Instructions that are taken to start in a cycle.
const WIDTH: u32 = 4;
/// Cycles are counted in this many parts.
const PARTS: u32 = WIDTH;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/fma/layout.rs");
    let to = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&to).join("product.s"), product())
}

#[derive(Clone)]
struct Instruction {
    text: String,
    /// Registers, and places of the scratch space, that are read and written.
    reads: Vec<String>,
    writes: Vec<String>,
    latency: u32,
}

fn constant(index: usize) -> String {
    format!("[rcx+{}]", VECTOR * index)
}

/// The product of four residues: operands at `rdi` and `rsi`, result at `rdx`, constants at `rcx`, scratch space at `r8`.
struct Four {
    /// Offset of the residues, and of the scratch space.
    residues: usize,
    scratch: usize,
    /// Registers that are taken in turn.
    spare: Vec<String>,
    turn: usize,
    /// Sum of the column in work, and of the next.
    sum: String,
    next: String,
    /// Instructions in groups.
    groups: Vec<Vec<Instruction>>,
}

/// 1.5·2^103 is at hand in a register, and its sum with 1.5·2^52.
const TOP: &str = "ymm15";
const BOTH: &str = "ymm14";
/// Places in the scratch space: folded digits, then multiples of p, then what is carried.
const CARRIED: usize = DIGITS;
const SCRATCH: usize = CARRIED + 1;

impl Four {
    fn new(index: usize) -> Self {
        let mut registers = (7 * index..7 * index + 7).map(|r| format!("ymm{r}"));
        let (sum, next) = (registers.next().unwrap_or_default(), registers.next().unwrap_or_default());
        Self {
            residues: index * VECTOR * DIGITS,
            scratch: index * VECTOR * SCRATCH,
            spare: registers.collect(),
            turn: 0,
            sum,
            next,
            groups: Vec::new(),
        }
    }

    fn at(&self, register: &str, digit: usize) -> String {
        format!("[{register}+{}]", self.residues + VECTOR * digit)
    }

    fn scratch(&self, place: usize) -> String {
        format!("[r8+{}]", self.scratch + VECTOR * place)
    }

    fn spare(&mut self) -> String {
        self.turn += 1;
        self.spare[self.turn % self.spare.len()].clone()
    }

    fn group(&mut self) {
        self.groups.push(Vec::new());
    }

    /// An instruction with its operands, the first of which is written.
    fn put(&mut self, name: &str, operands: &[&str]) {
        let kept = |operand: &&str| operand.starts_with("ymm") || operand.starts_with("[r8");
        let reads_target = name.starts_with("vfmadd");
        let instruction = Instruction {
            text: format!("{name} {}", operands.join(", ")),
            reads: operands[usize::from(!reads_target)..].iter().copied().filter(kept).map(String::from).collect(),
            writes: operands[..1].iter().copied().filter(kept).map(String::from).collect(),
            latency: match name {
                "vfmadd231pd" => 4,
                "vaddpd" | "vsubpd" => 3,
                "vmovapd" if operands[1].starts_with('[') => 7,
                _ => 1,
            },
        };
        if let Some(group) = self.groups.last_mut() {
            group.push(instruction);
        }
    }

    /// Adds the lower part of `x·y` to the sum and the upper one to the next; `x` is a register.
    fn add_product(&mut self, x: &str, y: &str) {
        let (high, low) = (self.spare(), self.spare());
        let (sum, next) = (self.sum.clone(), self.next.clone());
        // Rounded to a multiple of 2^51, and the rest, exactly.
        self.put("vmovapd", &[&high, TOP]);
        self.put("vfmadd231pd", &[&high, x, y]);
        self.put("vsubpd", &[&low, BOTH, &high]);
        self.put("vfmadd231pd", &[&low, x, y]);
        self.put("vpaddq", &[&next, &next, &high]);
        self.put("vpaddq", &[&sum, &sum, &low]);
    }

    fn add_product_of(&mut self, x: &str, y: &str) {
        self.group();
        let register = self.spare();
        self.put("vmovapd", &[&register, x]);
        self.add_product(&register, y);
    }

    /// The sum's lowest digit, as a number.
    fn digit(&mut self) -> String {
        let digit = self.spare();
        let sum = self.sum.clone();
        self.put("vpand", &[&digit, &sum, &constant(MASK)]);
        self.put("vpor", &[&digit, &digit, &constant(EXPONENT)]);
        self.put("vsubpd", &[&digit, &digit, &constant(DIGIT)]);
        digit
    }

    /// Clears the lowest digit by a multiple of p, which is kept.
    fn clear(&mut self, place: usize) {
        self.group();
        let digit = self.digit();
        self.group();
        let (high, multiple) = (self.spare(), self.spare());
        let inverse = constant(INVERSE);
        self.put("vmovapd", &[&high, TOP]);
        self.put("vfmadd231pd", &[&high, &digit, &inverse]);
        self.put("vsubpd", &[&multiple, TOP, &high]);
        self.put("vfmadd231pd", &[&multiple, &digit, &inverse]);
        let place = self.scratch(place);
        self.put("vmovapd", &[&place, &multiple]);
        self.group();
        self.add_product(&multiple, &constant(P));
    }

    /// A digit of the result; what it carries goes to the next one alone.
    fn result(&mut self, digit: usize) {
        self.group();
        let carried = self.scratch(CARRIED);
        let to = self.at("rdx", digit);
        let sum = self.sum.clone();
        if digit == DIGITS - 1 {
            let last = self.spare();
            self.put("vpaddq", &[&last, &sum, &carried]);
            self.put("vpaddq", &[&last, &last, &constant(LAST)]);
            self.put("vsubpd", &[&last, &last, &constant(NEAR_ONE)]);
            self.put("vmovapd", &[&to, &last]);
            return;
        }
        let value = self.digit();
        if digit > 0 {
            self.put("vaddpd", &[&value, &value, &carried]);
        }
        self.put("vmovapd", &[&to, &value]);
        let carry = self.spare();
        self.put("vpsrlq", &[&carry, &sum, &BITS.to_string()]);
        if digit < DIGITS - 2 {
            self.put("vpor", &[&carry, &carry, &constant(EXPONENT)]);
            self.put("vsubpd", &[&carry, &carry, &constant(EXPONENT)]);
        }
        self.put("vmovapd", &[&carried, &carry]);
    }

    fn write(mut self) -> Vec<Vec<Instruction>> {
        self.group();
        let sum = self.sum.clone();
        self.put("vmovdqa", &[&sum, &constant(COLUMN)]);
        for column in 0..2 * DIGITS {
            if column + 1 < 2 * DIGITS {
                let next = self.next.clone();
                self.group();
                self.put("vmovdqa", &[&next, &constant(COLUMN + column + 1)]);
            }
            for i in column.saturating_sub(DIGITS - 1)..DIGITS.min(column + 1) {
                let (x, y) = (self.at("rdi", i), self.at("rsi", column - i));
                self.add_product_of(&x, &y);
            }
            if (FOLDED..FOLDED + DIGITS).contains(&column) {
                for i in 0..FOLDED {
                    let x = self.scratch(i);
                    self.add_product_of(&x, &constant(POWER + DIGITS * i + column - FOLDED));
                }
            }
            for first in FOLDED..DIGITS {
                if (first + 1..first + DIGITS).contains(&column) {
                    let x = self.scratch(first);
                    self.add_product_of(&x, &constant(P + column - first));
                }
            }
            match column {
                0..FOLDED => {
                    self.group();
                    let digit = self.digit();
                    let place = self.scratch(column);
                    self.put("vmovapd", &[&place, &digit]);
                }
                FOLDED..DIGITS => self.clear(column),
                _ => self.result(column - DIGITS),
            }
            if column < DIGITS {
                self.group();
                let carry = self.spare();
                let (sum, next) = (self.sum.clone(), self.next.clone());
                self.put("vpsrlq", &[&carry, &sum, &BITS.to_string()]);
                self.put("vpaddq", &[&next, &next, &carry]);
            }
            std::mem::swap(&mut self.sum, &mut self.next);
        }
        self.groups
    }
}

/// The instructions of both fours in turn, group by group, then put into order.
fn product() -> String {
    let (first, second) = (Four::new(0).write(), Four::new(1).write());
    let both: Vec<Instruction> = first.into_iter().zip(second).flat_map(|(a, b)| [a, b].concat()).collect();
    let mut text = format!("vmovapd {TOP}, {}\nvmovapd {BOTH}, {}\n", constant(NEAR_TOP), constant(NEAR_BOTH));
    for i in order(&both) {
        text += &both[i].text;
        text.push('\n');
    }
    text
}

/// For each instruction those that must come before it, and how many cycles before.
fn needed(instructions: &[Instruction]) -> Vec<HashMap<usize, u32>> {
    let mut written: HashMap<&str, usize> = HashMap::new();
    let mut read: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut out = Vec::new();
    for (i, instruction) in instructions.iter().enumerate() {
        let mut before = HashMap::new();
        for place in &instruction.writes {
            for earlier in read.remove(place.as_str()).into_iter().flatten().chain(written.get(place.as_str()).copied())
            {
                before.insert(earlier, 0);
            }
        }
        for place in &instruction.reads {
            if let Some(earlier) = written.get(place.as_str()) {
                before.insert(*earlier, instructions[*earlier].latency);
            }
            read.entry(place).or_default().push(i);
        }
        for place in &instruction.writes {
            written.insert(place, i);
            read.entry(place).or_default().retain(|reader| *reader != i);
        }
        before.remove(&i);
        out.push(before);
    }
    out
}

/// List scheduling: of what can start, first what the longest chain waits for.
fn order(instructions: &[Instruction]) -> Vec<usize> {
    let needed = needed(instructions);
    let n = instructions.len();
    let mut chain: Vec<u32> = instructions.iter().map(|i| i.latency).collect();
    for i in (0..n).rev() {
        for (earlier, latency) in &needed[i] {
            chain[*earlier] = chain[*earlier].max(chain[i] + latency);
        }
    }
    let mut started: Vec<Option<u32>> = vec![None; n];
    let mut out = Vec::new();
    let mut now = 0;
    let mut lowest = 0;
    while out.len() < n {
        while started[lowest].is_some() {
            lowest += 1;
        }
        // When each of those whose predecessors have started can start itself.
        let ready = |i: usize| -> Option<u32> {
            let mut at = 0;
            for (earlier, latency) in &needed[i] {
                at = at.max(started[*earlier]? + latency * PARTS);
            }
            Some(at)
        };
        let open: Vec<(usize, u32)> = (lowest..n.min(lowest + WINDOW))
            .filter(|i| started[*i].is_none())
            .filter_map(|i| ready(i).map(|at| (i, at)))
            .collect();
        now = open.iter().map(|(_, at)| *at).min().unwrap_or(now).max(now);
        let best = open.iter().filter(|(_, at)| *at <= now).max_by_key(|(i, _)| (chain[*i], n - i));
        let Some((best, _)) = best else { break };
        started[*best] = Some(now);
        out.push(*best);
        now += 1;
    }
    assert_eq!(out.len(), n, "every instruction has its turn");
    out
}
