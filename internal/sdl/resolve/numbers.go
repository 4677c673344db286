package resolve

import (
	"fmt"
	"math"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// rank orders the numbers by width; 0 is no number.
func rank(t term) int {
	switch t.(type) {
	case value.Integer:
		return 1
	case value.Long:
		return 2
	case value.Float:
		return 3
	case value.Double:
		return 4
	}
	return 0
}

// toLong returns an integer or long.
func toLong(t term) int64 {
	switch t := t.(type) {
	case value.Integer:
		return int64(t)
	case value.Long:
		return int64(t)
	}
	return 0
}

// toDouble returns any number; an integer that goes to a float is rounded like
// one.
func toDouble(t term, rank int) float64 {
	switch t := t.(type) {
	case value.Float:
		return float64(t)
	case value.Double:
		return float64(t)
	}
	n := toLong(t)
	if rank == 3 {
		return float64(float32(n))
	}
	return float64(n)
}

// arithmetic is an operator on two numbers of the same width.
type arithmetic struct {
	long   func(a, b int64) int64
	double func(a, b float64) float64 // nil: whole numbers only
	divide bool                       // a zero on the right is an error for whole numbers
}

var (
	sum     = arithmetic{func(a, b int64) int64 { return a + b }, func(a, b float64) float64 { return a + b }, false}
	product = arithmetic{func(a, b int64) int64 { return a * b }, func(a, b float64) float64 { return a * b }, false}
	minus   = arithmetic{func(a, b int64) int64 { return a - b }, func(a, b float64) float64 { return a - b }, false}
	divide  = arithmetic{func(a, b int64) int64 { return a / b }, func(a, b float64) float64 { return a / b }, true}
	mod     = arithmetic{func(a, b int64) int64 { return a % b }, nil, true}
)

// apply widens a and b to the wider of both and applies op.
func (op arithmetic) apply(c *call, left, right string, a, b term) (term, *fault) {
	expected, least := "a number", 1
	most := 4
	if op.double == nil {
		expected, most = "an integer or long", 2
	}
	if n := rank(a); n < least || n > most {
		return nil, c.wrongType(left, expected, a)
	}
	if n := rank(b); n < least || n > most {
		return nil, c.wrongType(right, expected, b)
	}
	wide := max(rank(a), rank(b))
	if wide >= 3 {
		x := op.double(toDouble(a, wide), toDouble(b, wide))
		if wide == 3 {
			return value.Float(x), nil
		}
		return value.Double(x), nil
	}
	x, y := toLong(a), toLong(b)
	if op.divide && y == 0 {
		return nil, &fault{code: diag.DivisionByZero, param: right, text: fmt.Sprintf("division by zero in %s", c.class)}
	}
	if op.divide && x == math.MinInt64 && y == -1 {
		// Go leaves this to the processor only for 64 bits; the result wraps.
		return value.Long(op.long(x, 1) * y), nil
	}
	n := op.long(x, y)
	if wide == 1 {
		return value.Integer(int32(n)), nil
	}
	return value.Long(n), nil
}

// fold applies op from left to right to any number of operands.
func fold(op arithmetic) function {
	return strict(func(c *call, args []term) (term, *fault) {
		if len(args) == 0 {
			return nil, noOperands(c)
		}
		acc := args[0]
		for i, b := range args[1:] {
			v, wrong := op.apply(c, c.names[0], c.names[i+1], acc, b)
			if wrong != nil {
				return nil, wrong
			}
			acc = v
		}
		return acc, nil
	})
}

// binary makes a function of one with the parameters left and right.
func binary(eval func(c *call, a, b term) (term, *fault)) function {
	return func(c *call) (term, outcome, *fault) {
		how := c.settle()
		a, _, wrong := c.need("left")
		if wrong != nil {
			return nil, failed, wrong
		}
		b, _, wrong := c.need("right")
		if wrong != nil || how != done {
			return nil, how, wrong
		}
		v, wrong := eval(c, a, b)
		return v, done, wrong
	}
}

func calculate(op arithmetic) function {
	return binary(func(c *call, a, b term) (term, *fault) { return op.apply(c, "left", "right", a, b) })
}

// compare makes a function of an order on numbers.
func compare(test func(order int) bool) function {
	return binary(func(c *call, a, b term) (term, *fault) {
		if rank(a) == 0 {
			return nil, c.wrongType("left", "a number", a)
		}
		if rank(b) == 0 {
			return nil, c.wrongType("right", "a number", b)
		}
		wide := max(rank(a), rank(b))
		if wide <= 2 {
			x, y := toLong(a), toLong(b)
			switch {
			case x < y:
				return value.Bool(test(-1)), nil
			case x > y:
				return value.Bool(test(1)), nil
			}
			return value.Bool(test(0)), nil
		}
		x, y := toDouble(a, wide), toDouble(b, wide)
		switch {
		case x < y:
			return value.Bool(test(-1)), nil
		case x > y:
			return value.Bool(test(1)), nil
		case x == y:
			return value.Bool(test(0)), nil
		}
		return value.Bool(false), nil // NaN
	})
}

func noOperands(c *call) *fault {
	return &fault{code: diag.ParameterMissing, text: fmt.Sprintf("%s needs at least one operand", c.class)}
}
