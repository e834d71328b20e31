// Linetables checks that a program whose linker left out the line tables still
// does everything that the runtime does with the tables that remain: panics,
// stack traces, growing and shrinking stacks, garbage collection, preemption,
// signals. It prints a line for each check and fails if one fails.
//
// The check named "lines" is the control: it passes only if the linker really
// left them out. With the stock linker it is the one that must fail, unless
// the program is told to expect lines:
//
//	linetables [-lines] [-names]
//
// Names are expected with lines, and with -names: without it, functions of other
// packages go by numbers.
//
// Some checks start the program again. Under emulation that takes the emulator:
// EMULATOR="qemu-arm-static -cpu arm926" is put before the program's own name.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wantLines says which kind of linker the program was told to expect.
var wantLines bool

// wantNames says whether functions have their names.
var wantNames bool

// sink keeps results alive that the compiler would otherwise see are unused.
var sink any

var checks = []struct {
	name string
	run  func() error
}{
	{"lines", checkLines},
	{"panic and recover", checkPanic},
	{"nested panics", checkNested},
	{"recover through wrappers", checkWrappers},
	{"goexit", checkGoexit},
	{"nil dereference", checkNil},
	{"other faults", checkFaults},
	{"callers", checkCallers},
	{"inlined frames", checkInlined},
	{"numbers", checkNumbers},
	{"unwinding through assembly", checkAssembly},
	{"goroutine dumps", checkDumps},
	{"defer in loops", checkDefer},
	{"range over functions", checkRange},
	{"deep recursion", checkRecursion},
	{"stacks grow and shrink", checkStacks},
	{"collection under load", checkCollection},
	{"finalizers and cleanups", checkFinalizers},
	{"preemption", checkPreemption},
	{"preemption inside inlined reflect", checkReflectPreemption},
	{"select and timers", checkSelect},
	{"child: panic", checkChildPanic},
	{"child: stack overflow", checkChildOverflow},
	{"child: deadlock", checkChildDeadlock},
	{"child: SIGQUIT", checkChildQuit},
	{"child: signals caught", checkChildSignal},
}

func main() {
	for _, arg := range os.Args[1:] {
		switch arg {
		case "-lines":
			wantLines, wantNames = true, true
		case "-names":
			wantNames = true
		case "panic":
			childPanic(7)
		case "overflow":
			fmt.Println(childOverflow(1))
		case "deadlock":
			select {}
		case "quit":
			childQuit()
		case "signal":
			childSignal()
		default:
			fmt.Fprintln(os.Stderr, "usage: linetables [-lines] [-names]")
			os.Exit(2)
		}
	}

	failed := 0
	for _, c := range checks {
		start := time.Now()
		if err := guarded(c.run); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", c.name, err)
			continue
		}
		fmt.Printf("ok   %s (%d ms)\n", c.name, time.Since(start).Milliseconds())
	}
	fmt.Printf("%s/%s: %d checks, %d failed\n", runtime.GOOS, runtime.GOARCH, len(checks), failed)
	if failed > 0 {
		os.Exit(1)
	}
}

// guarded makes a panic that a check lets through a failure of that check.
func guarded(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return run()
}

// frame returns a pattern for the frame of a function in a stack trace,
// whichever linker it comes from.
func frame(name string) string {
	return regexp.QuoteMeta(name) + `\([^\n]*\)` + place
}

// place is a pattern for what follows a function in a stack trace. The offset
// is missing where it is 0, at the first instruction.
const place = `\n\t(\?:0|\S+\.(go|s):\d+)( \+0x[0-9a-f]+)?`

// match reports the first pattern that text has no match for.
func match(text string, patterns ...string) error {
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			return fmt.Errorf("no %q in:\n%.4000s", p, text)
		}
	}
	return nil
}

func checkLines() error {
	_, file, line, ok := runtime.Caller(0)
	if !ok {
		return errors.New("Caller does not know its caller")
	}
	if wantLines && !(strings.HasSuffix(file, "main.go") && line > 100) {
		return fmt.Errorf("want a line of main.go, got %s:%d", file, line)
	}
	if !wantLines && (file != "?" || line != 0) {
		return fmt.Errorf("want ?:0, got %s:%d", file, line)
	}
	f := runtime.FuncForPC(reflect.ValueOf(checkLines).Pointer())
	file, line = f.FileLine(f.Entry())
	if none := file == "?" && line == 0; none == wantLines {
		return fmt.Errorf("FileLine says %s:%d", file, line)
	}
	return nil
}

// try runs f and returns what it panicked with.
func try(f func()) (r any) {
	defer func() { r = recover() }()
	f()
	return nil
}

type thing struct{ n int }

func (t *thing) String() string { return fmt.Sprintf("thing %d", t.n) }

func checkPanic() error {
	if r := try(func() {}); r != nil {
		return fmt.Errorf("recovered %v from nothing", r)
	}
	if r := try(func() { panic("text") }); r != "text" {
		return fmt.Errorf("recovered %v, not the text", r)
	}
	t := &thing{3}
	if r := try(func() { panic(t) }); r != t {
		return fmt.Errorf("recovered %v, not the pointer", r)
	}
	if r := try(func() { panic(nil) }); r == nil {
		return errors.New("panic(nil) recovered as nil")
	}
	for i := range 1000 {
		if r := try(func() { panicAt(i%50, i) }); r != i {
			return fmt.Errorf("recovered %v, not %d", r, i)
		}
	}
	return nil
}

//go:noinline
func panicAt(depth, value int) int {
	if depth == 0 {
		panic(value)
	}
	return panicAt(depth-1, value) + 1
}

func checkNested() error {
	var order []string
	r := try(func() {
		defer func() {
			order = append(order, fmt.Sprint(recover()))
			panic("third")
		}()
		defer func() {
			order = append(order, fmt.Sprint(try(func() { panic("aside") })))
			panic("second")
		}()
		panic("first")
	})
	if got := fmt.Sprint(order, r); got != "[aside second]third" {
		return fmt.Errorf("got %s", got)
	}
	return nil
}

// The wrappers: a method promoted through an interface, one that a pointer
// gets from its value, and a method value. Recover must work in what they wrap
// and must not work one call deeper, wherever the compiler inlines.
type recoverer interface {
	direct()
	helped()
}

var recovered any

type inner struct{ pad [4]int }

func (inner) direct() { recovered = recover() }
func (inner) helped() { recoverHelper() }

//go:noinline
func recoverHelper() { recovered = recover() }

type outer struct {
	n int
	inner
}

func checkWrappers() error {
	values := []recoverer{inner{}, &inner{}, outer{}, &outer{}}
	for _, v := range values {
		v := v
		bound := v.direct
		for i, deferred := range []func(){
			func() { defer v.direct(); panic("x") },
			func() { defer bound(); panic("x") },
			func() { defer (*inner).direct(&inner{}); panic("x") },
		} {
			recovered = nil
			if r := try(deferred); r != nil || recovered != "x" {
				return fmt.Errorf("%T, %d: recover gave %v, and %v went on", v, i, recovered, r)
			}
		}
		boundHelp := v.helped
		for i, deferred := range []func(){
			func() { defer v.helped(); panic("x") },
			func() { defer boundHelp(); panic("x") },
			func() { defer outer.helped(outer{}); panic("x") },
			func() { defer func() { func() { recovered = recover() }() }(); panic("x") },
		} {
			recovered = nil
			if r := try(deferred); r != "x" || recovered != nil {
				return fmt.Errorf("%T, %d: recover one call too deep gave %v, and %v went on", v, i, recovered, r)
			}
		}
	}
	return nil
}

func checkGoexit() error {
	var ran []int
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 3 {
			defer func() { ran = append(ran, i) }()
		}
		defer func() {
			if r := recover(); r != nil {
				ran = append(ran, -1)
			}
		}()
		runtime.Goexit()
	}()
	<-done
	if fmt.Sprint(ran) != "[2 1 0]" {
		return fmt.Errorf("deferred calls ran as %v", ran)
	}
	return nil
}

//go:noinline
func load(t *thing) int { return t.n }

func checkNil() error {
	for range 100 {
		r := try(func() { sink = load(nil) })
		err, ok := r.(runtime.Error)
		if !ok || !strings.Contains(err.Error(), "nil pointer dereference") {
			return fmt.Errorf("recovered %v", r)
		}
	}
	// The trace of a fault starts at the instruction itself, not after a call.
	var trace []byte
	func() {
		defer func() { recover(); trace = debug.Stack() }()
		sink = load(nil)
	}()
	return match(string(trace), frame("main.load"), `panic\(`)
}

//go:noinline
func divide(a, b int) int { return a / b }

//go:noinline
func index(s []int, i int) int { return s[i] }

func checkFaults() error {
	for want, f := range map[string]func(){
		"divide by zero":        func() { sink = divide(1, int(zero.Load())) },
		"index out of range [5": func() { sink = index(make([]int, 3), 5) },
		"slice bounds":          func() { sink = make([]int, 3)[int(zero.Load())+2 : 1] },
		"interface conversion":  func() { sink = any(1).(string) },
		"assignment to entry":   func() { var m map[int]int; m[1] = 1 },
		"closed channel":        func() { c := make(chan int); close(c); close(c) },
		"makeslice: len out":    func() { sink = make([]int, int(zero.Load())-1) },
	} {
		if r := fmt.Sprint(try(f)); !strings.Contains(r, want) {
			return fmt.Errorf("%s: recovered %v", want, r)
		}
	}
	return nil
}

var zero atomic.Int32

//go:noinline
func outermost() []uintptr { return middle() }

//go:noinline
func middle() []uintptr { return innermost() }

//go:noinline
func innermost() []uintptr {
	pcs := make([]uintptr, 20)
	return pcs[:runtime.Callers(1, pcs)]
}

func checkCallers() error {
	pcs := outermost()
	var names, byPC []string
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		names = append(names, frame.Function)
		if frame.Func == nil || frame.Entry == 0 || frame.PC < frame.Entry {
			return fmt.Errorf("frame without a function: %+v", frame)
		}
		if !more {
			break
		}
	}
	for _, pc := range pcs {
		byPC = append(byPC, runtime.FuncForPC(pc-1).Name())
	}
	for _, list := range [][]string{names, byPC} {
		text := strings.Join(list, " ")
		if !strings.HasPrefix(text, "main.innermost main.middle main.outermost main.checkCallers ") ||
			!strings.Contains(text, " main.main runtime.main") {
			return fmt.Errorf("got %s", text)
		}
	}
	pc, _, _, ok := runtime.Caller(1)
	if name := runtime.FuncForPC(pc).Name(); !ok || name != "main.guarded" {
		return fmt.Errorf("Caller(1) is %s", name)
	}
	if f := runtime.FuncForPC(1); f != nil {
		return fmt.Errorf("FuncForPC(1) is %s", f.Name())
	}
	return nil
}

// mapping keeps the compiler from inlining the function.
var mapping = strings.Map

//go:noinline
func show(s fmt.Stringer) string { return s.String() }

// checkNumbers looks at functions of other packages, whose names are left out.
func checkNumbers() error {
	name := func(s string) string {
		if wantNames {
			return regexp.QuoteMeta(s)
		}
		return `func\.0x[0-9a-f]+`
	}
	var trace string
	var pcs [20]uintptr
	var n int
	func() {
		defer func() { recover(); trace = string(debug.Stack()) }()
		mapping(func(rune) rune { n = runtime.Callers(1, pcs[:]); panic("in a callback") }, "x")
	}()
	traced := `\n` + name("strings.Map") + `\([^\n]*\)` + place
	if err := match(trace, traced, frame("main.checkNumbers")); err != nil {
		return err
	}
	frames := runtime.CallersFrames(pcs[:n])
	frames.Next()
	byFrame, _ := frames.Next()
	mapped := runtime.FuncForPC(reflect.ValueOf(strings.Map).Pointer())
	for _, got := range []string{mapped.Name(), byFrame.Function} {
		if !regexp.MustCompile("^" + name("strings.Map") + "$").MatchString(got) {
			return fmt.Errorf("strings.Map is called %q", got)
		}
	}
	if mapped.Name() != byFrame.Function || mapped.Entry() != byFrame.Entry {
		return fmt.Errorf("strings.Map is %s at %#x and %s at %#x", mapped.Name(), mapped.Entry(), byFrame.Function, byFrame.Entry)
	}
	if !wantNames {
		// A number says where the function begins.
		count := runtime.FuncForPC(reflect.ValueOf(strings.Count).Pointer())
		var a, b uintptr
		fmt.Sscanf(mapped.Name(), "func.0x%x", &a)
		fmt.Sscanf(count.Name(), "func.0x%x", &b)
		if a == 0 || a-b != mapped.Entry()-count.Entry() {
			return fmt.Errorf("numbers %#x and %#x of functions at %#x and %#x", a, b, mapped.Entry(), count.Entry())
		}
	}
	// The wrapper of a value's method, called through a nil pointer.
	r := try(func() { show((*time.Duration)(nil)) })
	if err := match(fmt.Sprint(r), "^value method "+name("time.Duration.String")+" called using nil "); err != nil {
		return err
	}
	if _, ok := r.(runtime.Error); !ok {
		return fmt.Errorf("%T is no runtime error", r)
	}
	// A goroutine that another package started.
	started := make(chan string)
	time.AfterFunc(time.Millisecond, func() { started <- string(debug.Stack()) })
	return match(<-started, `created by `+name("time.goFunc")+`(?: in goroutine \d+)?`+place)
}

// small and smaller are inlined into host; the panic happens in the middle of
// code that has no name of its own.
func smaller(s []int, i int) int { return s[i] * 2 }

func small(s []int, i int) int { return smaller(s, i) + smaller(s, i+1) }

//go:noinline
func host(s []int, i int) int { return small(s, i) }

func checkInlined() error {
	if got := host([]int{1, 2, 3}, 1); got != 10 {
		return fmt.Errorf("computed %d", got)
	}
	var trace string
	func() {
		defer func() { recover(); trace = string(debug.Stack()) }()
		host([]int{1, 2, 3}, 2)
	}()
	if err := match(trace, frame("main.host")); err != nil {
		return err
	}
	return nil
}

type byValue []int

func (b byValue) Len() int           { return len(b) }
func (b byValue) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b byValue) Less(i, j int) bool { runtime.GC(); return b[i] < b[j] }

func checkAssembly() error {
	// reflect.Value.Call and reflect.MakeFunc go through hand-written frames
	// whose stack maps depend on the callee.
	deep := reflect.ValueOf(func(n int, s string, p *thing) ([]uintptr, string) {
		runtime.GC()
		return innermost(), fmt.Sprint(n, s, p)
	})
	out := deep.Call([]reflect.Value{reflect.ValueOf(1), reflect.ValueOf("two"), reflect.ValueOf(&thing{3})})
	if got := out[1].String(); got != "1twothing 3" {
		return fmt.Errorf("called with %s", got)
	}
	names := ""
	for _, pc := range out[0].Interface().([]uintptr) {
		names += runtime.FuncForPC(pc-1).Name() + " "
	}
	if err := match(names, `main\.innermost main\.checkAssembly\.func1 .*reflect\.Value\.Call main\.checkAssembly main\.guarded`); err != nil {
		return err
	}

	made := reflect.MakeFunc(reflect.TypeOf(func(*thing, int) string { return "" }), func(args []reflect.Value) []reflect.Value {
		growStack(200)
		runtime.GC()
		return []reflect.Value{reflect.ValueOf(fmt.Sprint(args[0].Interface(), args[1].Int()))}
	}).Interface().(func(*thing, int) string)
	if got := made(&thing{4}, 5); got != "thing 4 5" {
		return fmt.Errorf("made function got %s", got)
	}
	if r := try(func() { reflect.ValueOf(panicAt).Call([]reflect.Value{reflect.ValueOf(5), reflect.ValueOf(6)}) }); r != 6 {
		return fmt.Errorf("recovered %v through reflect", r)
	}

	b := make(byValue, 40)
	for i := range b {
		b[i] = rand.Int()
	}
	sort.Sort(b)
	if !sort.SliceIsSorted(b, func(i, j int) bool { return b[i] < b[j] }) {
		return errors.New("not sorted")
	}
	return nil
}

//go:noinline
func parked(in *sync.WaitGroup, out chan bool) {
	in.Done()
	<-out
}

func checkDumps() error {
	if err := match(string(debug.Stack()), `^goroutine \d+ \[running\]:`, frame("main.checkDumps"), frame("main.main")); err != nil {
		return err
	}
	var in sync.WaitGroup
	out := make(chan bool)
	for range 50 {
		in.Add(1)
		go parked(&in, out)
	}
	in.Wait()
	buf := make([]byte, 1<<20)
	all := string(buf[:runtime.Stack(buf, true)])
	close(out)
	if n := strings.Count(all, "main.parked("); n < 50 {
		return fmt.Errorf("%d of 50 goroutines in the dump", n)
	}
	return match(all, `\[chan receive\]:`, `created by main\.checkDumps in goroutine 1`+place)
}

func checkDefer() error {
	sum := 0
	func() {
		for i := range 10000 {
			defer func() { sum += i }()
		}
		for i := 0; i < 3; i++ {
			func() {
				defer func() { sum += 1 }()
				if i == 1 {
					return
				}
				defer func() { sum += 10 }()
			}()
		}
	}()
	if want := 10000*9999/2 + 3 + 20; sum != want {
		return fmt.Errorf("sum %d, not %d", sum, want)
	}
	r := try(func() {
		for i := range 100 {
			defer func() {
				if r := recover(); r != nil {
					panic(r.(int) + i)
				}
			}()
		}
		panic(0)
	})
	if r != 4950 {
		return fmt.Errorf("panicked along 100 defers to %v", r)
	}
	return nil
}

func checkRange() error {
	steps := 0
	seq := func(yield func(int) bool) {
		defer func() { steps += 100 }()
		for i := 0; yield(i); i++ {
		}
	}
	for i := range seq {
		defer func() { steps++ }()
		if i == 5 {
			break
		}
	}
	if steps != 100 {
		return fmt.Errorf("%d steps", steps)
	}
	r := try(func() {
		for i := range seq {
			if i == 3 {
				panic("in the body")
			}
		}
	})
	if r != "in the body" || steps != 200 {
		return fmt.Errorf("recovered %v after %d steps", r, steps)
	}
	return nil
}

//go:noinline
func growStack(n int) int {
	var pad [64]byte
	pad[n%64] = byte(n)
	if n == 0 {
		return 0
	}
	return growStack(n-1) + int(pad[n%64]) - int(byte(n)) + 1
}

func checkRecursion() error {
	const depth = 200_000
	if got := growStack(depth); got != depth {
		return fmt.Errorf("came back with %d", got)
	}
	if r := try(func() { panicAt(depth, 1) }); r != 1 {
		return fmt.Errorf("recovered %v from the depth", r)
	}
	return nil
}

// node holds pointers on the stack that must be found and adjusted when the
// stack moves.
type node struct {
	up    *node
	value int
}

//go:noinline
func chain(up *node, depth int) int {
	here := node{up, depth}
	if depth == 0 {
		sum := 0
		for n := &here; n != nil; n = n.up {
			sum += n.value
		}
		return sum
	}
	defer func() { here.value = 0 }()
	return chain(&here, depth-1)
}

func checkStacks() error {
	var wg sync.WaitGroup
	var bad atomic.Int32
	for g := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 20 {
				depth := (g*97 + i*31) % 3000
				if chain(nil, depth) != depth*(depth+1)/2 {
					bad.Add(1)
				}
				if i%7 == 0 {
					runtime.GC() // shrinks the stacks of the others
				}
			}
		}()
	}
	wg.Wait()
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d sums were wrong", n)
	}
	return nil
}

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() int {
	if t == nil {
		return 0
	}
	return 1 + t.left.count() + t.right.count()
}

func checkCollection() error {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	var wg sync.WaitGroup
	var bad atomic.Int32
	for g := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			m := map[string]*tree{}
			for i := range 20 {
				m[fmt.Sprint(g, i%5)] = grow(7)
				s := make([]*tree, i)
				for j := range s {
					s[j] = grow(2)
				}
				for _, t := range s {
					if t.count() != 7 {
						bad.Add(1)
					}
				}
				if i%5 == 0 {
					runtime.Gosched()
				}
			}
			for _, t := range m {
				if t.count() != 255 {
					bad.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d trees were damaged", n)
	}
	return nil
}

// tracked has a pointer, or it would share its memory with other small objects.
type tracked struct {
	n    int
	next *tracked
}

func checkFinalizers() error {
	const n = 1000
	var finalized, cleaned atomic.Int32
	for i := range n {
		t := &tracked{n: i}
		runtime.SetFinalizer(t, func(t *tracked) { finalized.Add(1); growStack(t.n % 100) })
		u := &tracked{n: i}
		runtime.AddCleanup(u, func(i int) { cleaned.Add(1); growStack(i % 100) }, i)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
		// The last of each may stay reachable from a register.
		if finalized.Load() >= n-1 && cleaned.Load() >= n-1 {
			return nil
		}
	}
	return fmt.Errorf("%d finalized, %d cleaned up, of %d", finalized.Load(), cleaned.Load(), n)
}

// checkPreemption needs the stack maps at arbitrary instructions: loops
// without calls can only be stopped by a signal.
func checkPreemption() error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			x, list := uint32(1), []*thing{{1}, {2}, {3}}
			for !stop.Load() {
				for range 1 << 20 {
					x = x*1664525 + 1013904223
					list[x%3] = list[(x>>8)%3]
				}
				if list[0].n+list[1].n+list[2].n == 0 {
					return
				}
			}
		}()
	}
	for range 20 {
		runtime.GC()
		sink = grow(8)
	}
	stop.Store(true)
	wg.Wait()
	return nil
}

// checkReflectPreemption stops goroutines that are mostly in code of reflect
// that was inlined here, where preemption is to wait.
func checkReflectPreemption() error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var stop atomic.Bool
	var bad atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; !stop.Load(); i++ {
				s := struct {
					A *thing
					B []int
					C map[string]int
				}{&thing{i}, make([]int, i%50), map[string]int{"x": i}}
				v := reflect.ValueOf(&s).Elem()
				if v.NumField() != 3 || v.Field(1).Len() != i%50 || v.Field(0).Elem().Field(0).Int() != int64(i) {
					bad.Add(1)
				}
				for it := v.Field(2).MapRange(); it.Next(); {
					if it.Key().String() != "x" || it.Value().Int() != int64(i) {
						bad.Add(1)
					}
				}
				v.Field(1).Set(reflect.Append(v.Field(1), reflect.ValueOf(i)))
				if s.B[len(s.B)-1] != i || v.Field(1).UnsafePointer() == nil || v.Type().Field(0).Name != "A" {
					bad.Add(1)
				}
			}
		}()
	}
	for range 30 {
		runtime.GC()
		sink = grow(8)
	}
	stop.Store(true)
	wg.Wait()
	if n := bad.Load(); n != 0 {
		return fmt.Errorf("%d values were wrong", n)
	}
	return nil
}

func checkSelect() error {
	in, out, quit := make(chan int), make(chan int), make(chan bool)
	var wg sync.WaitGroup
	for range 10 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case n := <-in:
					growStack(n)
					out <- n
				case <-quit:
					return
				case <-time.After(time.Minute):
					panic("a minute went by")
				}
			}
		}()
	}
	ticks, ticker := 0, time.NewTicker(time.Millisecond)
	sent, sum := 0, 0
	for got := 0; got < 500; {
		feed := in
		if sent == 500 {
			feed = nil
		}
		select {
		case feed <- sent:
			sent++
		case n := <-out:
			got++
			sum += n
		case <-ticker.C:
			ticks++
			runtime.GC()
		}
	}
	<-ticker.C
	ticker.Stop()
	close(quit)
	wg.Wait()
	if sum != 500*499/2 {
		return fmt.Errorf("sum %d", sum)
	}
	fired := make(chan bool)
	time.AfterFunc(time.Millisecond, func() { close(fired) })
	<-fired
	return nil
}

// child prepares to run the program again, to do something it does not survive.
func child(what string) (*exec.Cmd, *bytes.Buffer) {
	args := append(strings.Fields(os.Getenv("EMULATOR")), os.Args[0], what)
	if wantLines {
		args = append(args, "-lines")
	}
	cmd := exec.Command(args[0], args[1:]...)
	output := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	return cmd, output
}

// died checks how a child ended: with this status and this said.
func died(cmd *exec.Cmd, output *bytes.Buffer, err error, status int, patterns ...string) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != status {
		return fmt.Errorf("ended with %v, not with status %d:\n%.4000s", err, status, output.String())
	}
	return match(output.String(), patterns...)
}

//go:noinline
func childPanic(n int) { panic(fmt.Sprintf("number %d", n)) }

func checkChildPanic() error {
	cmd, output := child("panic")
	return died(cmd, output, cmd.Run(), 2, `(?m)^panic: number 7$`, `goroutine 1 \[running\]:`,
		frame("main.childPanic"), frame("main.main"))
}

//go:noinline
func childOverflow(n int) int {
	debug.SetMaxStack(1 << 20)
	return childOverflow(n+1) + n
}

func checkChildOverflow() error {
	cmd, output := child("overflow")
	return died(cmd, output, cmd.Run(), 2, `fatal error: stack overflow`, frame("main.childOverflow"), `frames elided`)
}

func checkChildDeadlock() error {
	cmd, output := child("deadlock")
	return died(cmd, output, cmd.Run(), 2, `all goroutines are asleep - deadlock!`, frame("main.main"))
}

func childQuit() {
	var in sync.WaitGroup
	in.Add(1)
	go parked(&in, make(chan bool))
	in.Wait()
	fmt.Println("ready")
	for {
		time.Sleep(time.Second)
	}
}

// start runs a child and waits until it says that it is ready.
func start(cmd *exec.Cmd, output *bytes.Buffer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	buf := make([]byte, 100)
	n, err := r.Read(buf)
	if string(buf[:n]) != "ready\n" {
		cmd.Process.Kill()
		cmd.Wait()
		return fmt.Errorf("child said %q, %v, %s", buf[:n], err, output)
	}
	return nil
}

func checkChildQuit() error {
	cmd, output := child("quit")
	if err := start(cmd, output); err != nil {
		return err
	}
	cmd.Process.Signal(syscall.SIGQUIT)
	return died(cmd, output, cmd.Wait(), 2, `SIGQUIT: quit`, frame("main.parked"), frame("main.childQuit"),
		`created by main\.childQuit in goroutine 1`+place)
}

func childSignal() {
	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGTERM)
	fmt.Println("ready")
	for s := range c {
		if s == syscall.SIGTERM {
			os.Exit(5)
		}
		runtime.GC()
	}
}

func checkChildSignal() error {
	cmd, output := child("signal")
	if err := start(cmd, output); err != nil {
		return err
	}
	for range 5 {
		cmd.Process.Signal(syscall.SIGUSR1)
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	return died(cmd, output, cmd.Wait(), 5)
}
