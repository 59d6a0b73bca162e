"""What local features say of retrieved keyframes."""
